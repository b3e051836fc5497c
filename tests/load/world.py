"""A project as large as asked for, with everything that people and machines leave behind, made in bulk.

It lies in a database of its own and is kept, so that a million posts are made once: LOAD_FRESH=1 makes it anew.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import ground
from tests.bench.list_posts import WORDS

ROOT = ground.ROOT
PICTURES = 60  # that are drawn; each is shown by many posts
CROWD = 100

POSTS = """
INSERT INTO annotate_post (project_id, external_id, text, image_id, template_id, source, at, meta, state, label_id,
    label_source, holdout, vote_count, content_hash, created)
SELECT %(project)s, 'p' || n, (%(words)s::text[])[1 + n %% 20] || ' ' || (%(words)s::text[])[1 + (n / 7) %% 20]
    || ' unique' || (n::bigint * 7919 %% 50000) || ' the market does what it does, again and again, says number ' || n,
    CASE WHEN n %% 4 = 0 THEN (%(images)s::bigint[])[1 + n %% cardinality(%(images)s::bigint[])] END,
    CASE WHEN n %% 4 = 0 THEN (%(templates)s::bigint[])[1 + n %% cardinality(%(templates)s::bigint[])] END,
    'made', timestamptz '2024-01-01' + n * interval '30 seconds', jsonb_build_object('likes', n %% 100),
    said.state, CASE WHEN said.state = 'settled' THEN (%(labels)s::bigint[])[1 + n %% 3] END,
    CASE WHEN said.state = 'settled' THEN CASE WHEN n %% 20 < 2 THEN 'review' ELSE 'consensus' END ELSE '' END,
    said.state = 'settled' AND n %% 200 < 2, CASE WHEN said.state = 'waiting' THEN 0 ELSE 2 END,
    encode(sha256(convert_to(n::text, 'UTF8')), 'hex'), now()
FROM generate_series(1, %(posts)s) AS n,
  LATERAL (SELECT CASE WHEN n %% 20 < 9 THEN 'settled' WHEN n %% 20 < 18 THEN 'contested' WHEN n %% 20 = 18 THEN 'aside'
    ELSE 'waiting' END AS state) AS said
"""
VOTES = """
INSERT INTO annotate_vote (post_id, voter_id, label_id, confidence, probabilities, reason, text_reading, image_reading,
    raw, tokens_in, tokens_out, cost, created)
SELECT id, %(voter)s, (%(labels)s::bigint[])[1 + (id + CASE WHEN state = 'contested' THEN %(turn)s ELSE 0 END) %% 3],
    0.5 + (id %% 50) / 100.0,
    CASE WHEN %(sure)s THEN jsonb_build_object('bearish', 0.2, 'neutral', 0.3, 'bullish', 0.5) END,
    'It says that the market does what it does.', '', '', '', 300, 20, 0.0001, now()
FROM annotate_post WHERE project_id = %(project)s AND state <> 'waiting' AND id %% 100 < %(share)s
"""
# One in ten contested posts wants two people; of the settled, 4% are audited.
OPEN = """
INSERT INTO annotate_disagreement (project_id, post_id, why, inclusion, opened, stream, rank, wanted, answers, passed,
    tab, votes_shown, instead, was_state, was_source)
SELECT project_id, id, CASE state WHEN 'contested' THEN 'split' ELSE 'audit' END,
    CASE state WHEN 'settled' THEN 0.04 END, now(), CASE state WHEN 'contested' THEN 1 ELSE 2 END,
    random(), CASE WHEN state = 'contested' AND id %% 10 > 0 THEN 1 ELSE 2 END, 0, '{}', '', FALSE, '', '', ''
FROM annotate_post WHERE project_id = %(project)s
  AND (state = 'contested' OR state = 'settled' AND label_source = 'consensus' AND NOT holdout AND id %% 25 = 1)
"""
# What people have decided over a year: contested posts, and audits of which one in thirty found an error.
DECIDED = """
INSERT INTO annotate_disagreement (project_id, post_id, why, inclusion, opened, closed, stream, rank, wanted, answers,
    passed, tab, votes_shown, instead, was_state, was_source, was_label_id, label_id)
SELECT project_id, id, said.why, CASE said.why WHEN 'audit' THEN 0.04 END, closed - interval '1 day', closed,
    CASE said.why WHEN 'audit' THEN 2 ELSE 1 END, random(), 1, 1, '{}', '', FALSE,
    CASE state WHEN 'aside' THEN 'cannot_tell' ELSE '' END,
    CASE said.why WHEN 'audit' THEN 'settled' ELSE 'contested' END,
    CASE said.why WHEN 'audit' THEN 'consensus' ELSE '' END,
    CASE said.why WHEN 'audit' THEN (%(labels)s::bigint[])[1 + (id + (id %% 30 = 0)::int) %% 3] END,
    CASE state WHEN 'settled' THEN label_id END
FROM annotate_post,
  LATERAL (SELECT now() - (1 + id %% 365) * interval '1 day' AS closed,
    CASE WHEN state = 'settled' AND id %% 20 = 1 THEN 'audit' ELSE 'split' END AS why) AS said
WHERE project_id = %(project)s AND (state = 'settled' AND label_source = 'review' OR state = 'aside')
"""
REVIEWS = """
INSERT INTO annotate_review (project_id, disagreement_id, reviewer_id, key, label_id, instead, note, final, saw,
    seconds, at)
SELECT d.project_id, d.id, (%(people)s::bigint[])[1 + (d.id * 7 + turn) %% cardinality(%(people)s::bigint[])],
    'was ' || d.id || ' ' || turn,
    CASE WHEN d.instead = '' THEN CASE WHEN turn = 1 AND d.id %% 9 = 0 THEN (%(labels)s::bigint[])[1 + d.id %% 3]
      ELSE d.label_id END END,
    d.instead, '', FALSE, '{}', 1 + d.id %% 20, d.closed
FROM annotate_disagreement AS d, generate_series(0, CASE WHEN d.id %% 4 = 0 THEN 1 ELSE 0 END) AS turn
WHERE project_id = %(project)s AND d.closed IS NOT NULL
"""
EVENTS = """
INSERT INTO annotate_event (at, user_id, project_id, post_id, verb, data)
SELECT now() - n * interval '30 seconds', (%(people)s::bigint[])[1 + n %% cardinality(%(people)s::bigint[])],
    %(project)s, CASE WHEN n %% 3 = 0 THEN n END,
    (ARRAY['reviewed', 'voted', 'joined', 'changed the settings', 'froze a dataset'])[1 + n %% 5],
    jsonb_build_object('number', n)
FROM generate_series(1, %(posts)s) AS n
"""
# As if nobody had answered since: each crowd finds the same queue.
REOPEN = """
WITH gone AS (DELETE FROM annotate_review WHERE key NOT LIKE 'was %%' RETURNING disagreement_id),
touched AS (
  UPDATE annotate_disagreement AS d SET closed = NULL, passed = '{}', answers = 0, label_id = NULL, instead = '',
    holder_id = NULL, tab = '', held_since = NULL, held_until = NULL, was_state = '', was_source = '',
    was_label_id = NULL, was_incongruous = NULL, stream = CASE d.why WHEN 'audit' THEN 2 ELSE 1 END
  FROM annotate_disagreement AS old
  WHERE old.id = d.id AND d.project_id = %(project)s
    AND (d.id IN (SELECT disagreement_id FROM gone) OR d.closed IS NULL AND d.holder_id IS NOT NULL)
  RETURNING d.post_id, d.why, old.was_label_id
)
UPDATE annotate_post AS post
SET state = CASE why WHEN 'audit' THEN 'settled' ELSE 'contested' END,
  label_id = CASE why WHEN 'audit' THEN coalesce(was_label_id, label_id) END,
  label_source = CASE why WHEN 'audit' THEN 'consensus' ELSE '' END
FROM touched WHERE touched.post_id = post.id
"""


@dataclass
class World:
    project: int
    slug: str
    labels: list[int]
    people: list[int]  # who review; the first two are leads
    admin: int


def var_folder() -> Path:
    return Path(os.environ.get("VAR_DIR") or ROOT / "var" / "load").resolve()


def attach(posts: int) -> bool:
    """A server of its own, tuned and as durable as the product's. Says whether the world was there already."""
    os.environ |= {"VAR_DIR": str(var_folder()), "DJANGO_SETTINGS_MODULE": "annotate.settings", "LOG_LEVEL": "WARNING"}
    os.environ.pop("DATABASE_URL", None)
    import django
    import psycopg

    from annotate import database

    database.NAME = f"load_{posts}"
    admin = database.start(var_folder() / "postgres", database.TUNING).replace(database.NAME, "postgres")
    if os.environ.get("LOAD_FRESH"):
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {database.NAME} WITH (FORCE)")
    django.setup()
    database.attach()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from annotate import static_files
    from annotate.models import Event

    static_files.collect()
    return Event.objects.filter(verb="the load was made").exists()


def make(posts: int) -> World:
    there = attach(posts)
    from annotate.models import Event, Project

    if not there and Project.objects.exists():
        sys.exit("It broke off when it was made: LOAD_FRESH=1 makes it anew.")
    if not there:
        took = ground.seconds(lambda: fill(posts))
        Event.record("the load was made", project=Project.objects.get())
        print(f"{posts:,} posts made in {took:.0f} s", flush=True)
    return found()


def found() -> World:
    from annotate.models import Project, User

    project = Project.objects.get()
    people = list(project.memberships.exclude(role="admin").order_by("id").values_list("user", flat=True))
    labels = list(project.labels.values_list("pk", flat=True))
    return World(project.pk, project.slug, labels, people, User.objects.get(username="load").pk)


def fill(posts: int) -> None:
    from annotate.models import Template, Voter
    from annotate.models.tally import fold
    from tests.make import make_project

    project = make_project("Load", guidelines="# Bullish\n\nA *rise*, or hope.")
    people = crowd(project)
    groups = Template.objects.bulk_create(Template(project=project, size=2 + n % 40) for n in range(posts // 80))
    names: dict[str, Any] = {
        "project": project.pk, "posts": posts, "words": WORDS, "images": pictures(),
        "templates": [group.pk for group in groups], "labels": list(project.labels.values_list("pk", flat=True)),
        "people": [person.pk for person in people],
    }  # fmt: skip
    run("posts", POSTS, names)
    for turn, (voter, share, sure) in enumerate([("gpt", 100, False), ("gemini", 100, False), ("narrow", 1, False)]):
        asked = {"voter": Voter.imported(project, voter).pk, "turn": turn, "share": share, "sure": sure}
        run(f"votes of {voter}", VOTES, names | asked)
    run("what is decided", DECIDED, names)
    run("reviews", REVIEWS, names)
    run("what waits", OPEN, names)
    run("events", EVENTS, names)
    run("statistics", "VACUUM ANALYZE", {})
    furnish(project, names["labels"])
    fold()
    run("statistics", "VACUUM ANALYZE", {})


def crowd(project: Any) -> list[Any]:
    """Without passwords, because making one is slow on purpose; each is given a session."""
    from annotate.models import Membership, Role, User

    User.objects.create(username="load", password="!", is_superuser=True, is_staff=True)
    people = User.objects.bulk_create(User(username=f"person {n}", password="!") for n in range(CROWD))
    Membership.objects.bulk_create(
        Membership(project=project, user=person, role=Role.LEAD if n < 2 else Role.REVIEWER)
        for n, person in enumerate(people)
    )
    return people


def furnish(project: Any, labels: list[int]) -> None:
    """What machines made of it: a frozen dataset, a run on it with its evaluation, and a pre-labelling by that run."""
    from modeling.datasets import dataset
    from modeling.datasets.recipe import Recipe
    from modeling.evaluation import evaluating
    from modeling.evaluation.predictors import Predictor
    from modeling.models import PreLabelling, Run, RunPoint
    from modeling.prelabelling import candidates
    from modeling.prelabelling import prelabelling as room
    from modeling.training import training_presets

    frozen = dataset.ask(project, None, "v1", Recipe(), queue=False)
    print(f"  frozen: {ground.seconds(lambda: dataset.carry_out(frozen)):.0f} s", flush=True)
    frozen.refresh_from_db()
    for predictor in (Predictor("voter", voter=project.voters.get(name="gpt").pk), Predictor("majority")):
        measured = evaluating.ask(project, None, frozen, "holdout", predictor, queue=False)
        print(f"  evaluated: {ground.seconds(lambda one=measured: evaluating.carry_out(one)):.0f} s", flush=True)
    config = training_presets.named("tiny").configured().as_json()
    trained = Run.objects.create(project=project, dataset=frozen, recipe="tiny", config=config, state="done")
    RunPoint.objects.bulk_create(
        RunPoint(run=trained, kind="step", step=step, told={"loss": 1 / step, "lr": 0.1}) for step in range(1, 5000)
    )
    sure = room.ask(project, None, trained, {"state": "contested"}, queue=False)
    names = {"project": project.pk, "labels": labels, "voter": sure.voter_id, "turn": 0, "share": 100, "sure": True}
    run("votes of the run", VOTES.replace("state <> 'waiting'", "state = 'contested'"), names)
    validation = [["bullish", 0.97, True]] * 300 + [["neutral", 0.8, False]] * 40
    PreLabelling.objects.filter(pk=sure.pk).update(
        state="done", total=1, done=1, temperature=1.3, validation=validation, meaning=candidates.count(sure)
    )


def asked_voter(project: Any, address: str) -> Any:
    """One that a voting run can ask, at a server of this machine."""
    from labeling.voters import Makeup, create

    there = project.voters.filter(name="fake").first()
    told = {"base_url": address, "price_in": 0.1, "price_out": 0.4}
    return there or create(project, None, Makeup.told("openai", "m", told), "fake", required=False)


def run(what: str, statement: str, names: dict[str, Any]) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        took = ground.seconds(lambda: cursor.execute(statement, names or None))
    print(f"  {what}: {took:.0f} s", flush=True)


def pictures() -> list[int]:
    """Real ones, stored as an import stores them: the review screen loads one with every fourth post."""
    from itertools import islice

    from annotate import images
    from annotate.demo.posts import draw_posts
    from annotate.models import Image

    made = []
    for post in islice((one for one in draw_posts() if one.picture), PICTURES):
        seen = images.inspect(post.picture)
        images.store(seen)
        made.append(
            Image(sha256=seen.sha256, format=seen.format, width=seen.width, height=seen.height, bytes=len(seen.data),
                  fingerprint=seen.fingerprint)
        )  # fmt: skip
    Image.objects.bulk_create(made, ignore_conflicts=True)
    return list(Image.objects.values_list("pk", flat=True))


def reopen(world: World) -> None:
    from annotate.models.tally import fold

    run("the queue opened anew", REOPEN, {"project": world.project})
    fold()
    run("statistics", "VACUUM ANALYZE annotate_disagreement, annotate_post, annotate_review", {})
