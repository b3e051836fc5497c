"""Freezing 100,000 posts with two votes each, previewing them, and freezing them again beside a history.

Baseline: a bare INSERT ... SELECT of the same posts into a table of the same columns, without votes, checks or a hash.
The time and memory of a million say whether either grows faster than the posts.
"""

import subprocess
import sys

from tests.bench import ground
from tests.bench.list_posts import WORDS

SIZES = (100_000, 1_000_000)

FILL = """
INSERT INTO annotate_post (project_id, external_id, text, template_id, source, at, meta, state, label_id, label_source,
    holdout, vote_count, content_hash, created)
SELECT %(project)s, 'p' || n, (%(words)s::text[])[1 + n %% 20] || ' ' || (%(words)s::text[])[1 + (n / 7) %% 20]
    || ' ' || 'unique' || (n * 7919 %% (%(posts)s * 9 / 10)) || ' the market does what it does, again and again',
    CASE WHEN n %% 3 = 0 THEN (%(templates)s::bigint[])[1 + n %% cardinality(%(templates)s::bigint[])] END, 'made',
    timestamptz '2024-01-01' + n * interval '30 seconds', '{}', 'settled',
    (%(labels)s::bigint[])[1 + n %% 3], CASE WHEN n %% 7 = 0 THEN 'review' ELSE 'consensus' END,
    n <= 107, 2, md5(n::text), now()
FROM generate_series(1, %(posts)s) AS n
"""

VOTES = """
INSERT INTO annotate_vote (post_id, voter_id, label_id, confidence, reason, text_reading, image_reading, raw, created)
SELECT post.id, voter, post.label_id, 0.5 + (post.id %% 50) / 100.0, 'It says that the market does what it does.', '',
    '', '{}', now()
FROM annotate_post AS post, unnest(%(voters)s::bigint[]) AS voter WHERE project_id = %(project)s
"""

BARE = """
CREATE TABLE bare AS SELECT row_number() OVER (ORDER BY md5(external_id)) AS position, post.id, external_id, text,
    source, at, meta, label.name AS label, label_source, incongruous
FROM annotate_post AS post JOIN annotate_label AS label ON label.id = label_id
"""


def fill(posts: int) -> object:
    from django.db import connection

    from annotate.models import Template, Voter
    from tests.make import make_project

    project = make_project("Large", audit_rate=0)
    templates = Template.objects.bulk_create(Template(project=project) for _ in range(posts // 30))
    names = {"project": project.pk, "posts": posts, "words": WORDS, "templates": [group.pk for group in templates],
             "labels": list(project.labels.values_list("pk", flat=True)),
             "voters": [Voter.imported(project, name).pk for name in ("gpt", "gemini")]}  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(FILL, names)
        cursor.execute(VOTES, names)
        cursor.execute("VACUUM ANALYZE")
    return project


def measure(posts: int) -> None:
    ground.django_on_fresh_database("freeze")
    from django.db import connection

    from modeling.datasets import dataset
    from modeling.datasets.recipe import Recipe

    project = fill(posts)
    with connection.cursor() as cursor:
        bare = ground.seconds(lambda: cursor.execute(BARE))
    made = ground.peak_megabytes()
    print(f"{posts:9,} posts: bare copy (baseline)   {bare:6.1f} s")
    print(
        f"{posts:9,} posts: preview                {ground.seconds(lambda: dataset.choose(project, Recipe())):6.1f} s"
    )
    for name in ("v1", "v2"):
        frozen = dataset.ask(project, None, name, Recipe(), queue=False)
        took = ground.seconds(lambda frozen=frozen: dataset.carry_out(frozen))
        frozen.refresh_from_db()
        left = ", ".join(f"{n:,} {why}" for why, n in frozen.composition["left_out"].items()) or "nothing left out"
        print(
            f"{posts:9,} posts: frozen as {name}           {took:6.1f} s, {took / bare:.0f} times the bare copy; {left}"
        )
        print(f"{'':9}  hash {frozen.content_hash[:16]}")
    print(f"{posts:9,} posts: peak memory            {ground.peak_megabytes():6.0f} MB, {made:.0f} before")


def main() -> None:
    for posts in SIZES:
        subprocess.run([sys.executable, "-m", "tests.bench.freeze", str(posts)], check=True)


if __name__ == "__main__":
    measure(int(sys.argv[1])) if len(sys.argv) > 1 else main()
