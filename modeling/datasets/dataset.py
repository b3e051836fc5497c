"""Freeze settled posts into a dataset: choose, copy, seal. The page, the command and the API all end up here."""

import logging
from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from annotate import quality
from annotate.models import Event, Project, User
from annotate.operating import room, upkeep
from modeling.models import NAME, Dataset, DatasetState

from . import candidates, card, composition, items, splits
from .composition import Composition, Wrong
from .recipe import SOURCES, Recipe
from .splits import NAMES, Chosen, Known

WINDOW = 2000
TAKEN = {"new", "preview"}  # pages beside those of the datasets
Progress = Callable[[Dataset], None]


class Stopped(Exception):
    """Somebody asked for it, or another worker has taken this over."""


class Refused(Exception):
    """It cannot be frozen so; the words are for whoever asked."""


# --- What it would be


def choose(project: Project, recipe: Recipe, beat: candidates.Beat = lambda: None) -> tuple[Known, Chosen, Composition]:
    known = candidates.read(project, beat)
    chosen = splits.choose(known, recipe)
    wrong = wrong_among(project, composition.machines_in(known, chosen))
    return known, chosen, composition.compose(known, chosen, recipe, project.asks_incongruous, wrong)


def wrong_among(project: Project, machines: int) -> Wrong | None:
    """As the quality page tells it for all labels that machines settled and nobody has put right."""
    overview = quality.read(project)
    standing = sum(overview.now.values())
    if overview.left is None or not overview.overall or not standing:
        return None
    share = machines / standing
    value, low, high = (min(float(standing), wrong) * share for wrong in overview.left)
    return Wrong(value, low, high, machines, overview.overall.audits)


def facts_of(project: Project, weights: dict[str, float] | None = None) -> dict[str, Any]:
    """What a trainer and a predictor read beside the posts."""
    labels = project.labels.values("name", "meaning", "colour", "key")
    return {
        "format": "casting-vote",
        "version": 1,
        "question": project.question,
        "guidelines": project.guidelines,
        "asks_incongruous": project.asks_incongruous,
        "synthetic": project.synthetic,
        "labels": [{name: value for name, value in label.items() if value} for label in labels],
        "weights": weights or {},
    }


# --- Freezing it


def ask(
    project: Project, by: User | None, name: str, recipe: Recipe, queue: bool = True, has_begun: bool = False
) -> Dataset:
    """Whoever freezes by command carries it out there and then, and queues nothing. What is a part of something that
    has begun may end in a full project too."""
    NAME(name)
    if name in TAKEN:
        raise Refused(f"“{name}” is the address of a page here; take another name.")
    if problem := "" if has_begun else room.problem_with_project(project):
        raise Refused(problem)
    try:
        with transaction.atomic():
            Dataset.objects.filter(
                project=project, name=name, state__in=[DatasetState.FAILED, DatasetState.CANCELLED]
            ).delete()
            dataset = Dataset.objects.create(project=project, by=by, name=name, recipe=recipe.as_json())
            if queue:
                enqueue(dataset)
    except IntegrityError as error:
        raise Refused(f"There is a dataset {name} already. What is frozen stays; take another name.") from error
    return dataset


def next_name(project: Project) -> str:
    taken = set(project.datasets.values_list("name", flat=True))
    return next(name for n in range(1, len(taken) + 2) if (name := f"v{n}") not in taken)


def enqueue(dataset: Dataset) -> None:
    async_task("modeling.tasks.freeze", dataset.pk, task_name=f"freeze {dataset.pk}")


def stop(dataset: Dataset) -> bool:
    this = Dataset.objects.filter(pk=dataset.pk)
    idle = Dataset.objects.claimable().filter(pk=dataset.pk)
    if idle.update(state=DatasetState.CANCELLED, ended=timezone.now()):
        return True
    return bool(this.filter(state=DatasetState.FREEZING, stop_asked=False).update(stop_asked=True))


def carry_out(dataset: Dataset, progress: Progress = lambda _: None) -> bool:
    """False where somebody else has it, or another of this project is being frozen."""
    if not dataset.claim():
        return False
    try:
        freeze(dataset, progress)
    except Stopped:
        end(dataset, DatasetState.CANCELLED)
    except Refused as refusal:
        end(dataset, DatasetState.FAILED, str(refusal))
    except KeyboardInterrupt:
        end(dataset, DatasetState.CANCELLED)
        raise
    except BaseException:
        logging.getLogger(__name__).exception("Dataset %s could not be frozen.", dataset.pk)
        end(dataset, DatasetState.FAILED, "It broke off before it was whole; nothing of it counts. Start it again.")
        raise
    return True


def freeze(dataset: Dataset, progress: Progress) -> None:
    def beat() -> None:
        heard(dataset)
        progress(dataset)

    dataset.items.all().delete()  # of a worker that died over it
    recipe = Recipe.from_json(dataset.recipe)
    known, chosen, made = choose(dataset.project, recipe, beat)
    if not made.posts:
        raise Refused("No post was left to be frozen: choose more sources of labels, or ask for less confidence.")
    dataset.total = len(chosen.order)
    copy(dataset, known, chosen, beat)
    seal(dataset, made, beat)


def heard(dataset: Dataset) -> None:
    ours = Dataset.objects.filter(pk=dataset.pk, state=DatasetState.FREEZING, started=dataset.started, stop_asked=False)
    if not ours.update(heartbeat=Now(), total=dataset.total, done=dataset.done):
        raise Stopped


# The label is the one that was chosen by: whatever happens to the post meanwhile, what was counted is what is copied.
COPY = """
INSERT INTO modeling_datasetitem (dataset_id, position, post_id, external_id, text, image, source, at, template, meta,
  label, label_source, incongruous, confidence, split, kin, votes, reviews)
SELECT %(dataset)s, chosen.position, post.id, post.external_id, post.text,
  coalesce(image.sha256 || '.' || (%(endings)s::jsonb ->> image.format), ''), post.source, post.at,
  coalesce(template.name, ''), post.meta, chosen.label, chosen.source, chosen.incongruous, chosen.confidence,
  chosen.split, chosen.kin, coalesce(vote.told, '[]'), coalesce(review.told, '[]')
FROM unnest(%(positions)s::int[], %(posts)s::bigint[], %(labels)s::text[], %(sources)s::text[], %(odd)s::bool[],
  %(confidence)s::float8[], %(splits)s::text[], %(kin)s::int[])
  AS chosen (position, post, label, source, incongruous, confidence, split, kin)
JOIN annotate_post AS post ON post.id = chosen.post
LEFT JOIN annotate_image AS image ON image.id = post.image_id
LEFT JOIN annotate_template AS template ON template.id = post.template_id
LEFT JOIN LATERAL (
  SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
    'voter', voter.name, 'label', label.name, 'confidence', vote.confidence, 'probabilities', vote.probabilities,
    'reason', nullif(vote.reason, ''), 'text_reading', nullif(vote.text_reading, ''),
    'image_reading', nullif(vote.image_reading, ''), 'incongruous', vote.incongruous,
    'at', to_char(vote.created AT TIME ZONE 'UTC', %(moment)s)
  )) ORDER BY voter.name) AS told
  FROM annotate_vote AS vote JOIN annotate_voter AS voter ON voter.id = vote.voter_id
  LEFT JOIN annotate_label AS label ON label.id = vote.label_id WHERE vote.post_id = post.id
) AS vote ON TRUE
LEFT JOIN LATERAL (
  SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
    'reviewer', person.username, 'why', d.why, 'label', label.name, 'instead', nullif(review.instead, ''),
    'note', nullif(review.note, ''), 'incongruous', review.incongruous, 'final', nullif(review.final, FALSE),
    'saw', (SELECT jsonb_agg(voter.name ORDER BY voter.name) FROM annotate_voter AS voter
      WHERE voter.id = ANY(review.saw)),
    'seconds', review.seconds, 'at', to_char(review.at AT TIME ZONE 'UTC', %(moment)s)
  )) ORDER BY review.id) AS told
  FROM annotate_disagreement AS d JOIN annotate_review AS review ON review.disagreement_id = d.id
  JOIN annotate_user AS person ON person.id = review.reviewer_id
  LEFT JOIN annotate_label AS label ON label.id = review.label_id
  WHERE d.post_id = post.id AND review.undone IS NULL AND review.instead <> 'skip'
) AS review ON TRUE
"""
MOMENT = 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'


def copy(dataset: Dataset, known: Known, chosen: Chosen, beat: candidates.Beat) -> None:
    for first in range(0, len(chosen.order), WINDOW):
        posts = chosen.order[first : first + WINDOW]
        with connection.cursor() as cursor:
            cursor.execute(COPY, {
                "dataset": dataset.pk, "endings": items.ENDINGS, "moment": MOMENT,
                "positions": list(range(first + 1, first + len(posts) + 1)),
                "posts": known.ids[posts].tolist(),
                "labels": [known.label_names[label] for label in known.labels[posts]],
                "sources": [SOURCES[source] for source in known.sources[posts]],
                "odd": [None if odd < 0 else bool(odd) for odd in known.incongruous[posts].tolist()],
                "confidence": [None if sure != sure else sure for sure in known.confidence[posts].tolist()],
                "splits": [NAMES[split] for split in chosen.splits[posts]],
                "kin": chosen.kin[posts].tolist(),
            })  # fmt: skip
        dataset.done = first + len(posts)
        beat()


def seal(dataset: Dataset, made: Composition, beat: candidates.Beat) -> None:
    project = dataset.project
    dataset.composition = made.as_json()
    dataset.facts = facts_of(project, dict(made.weights)) | {"voters": card.voters_of(dataset)}
    dataset.told = card.told_of(dataset)
    dataset.content_hash = items.hash_of(dataset, beat)
    with transaction.atomic():
        heard(dataset)
        dataset.state, dataset.ended = DatasetState.FROZEN, timezone.now()
        dataset.save(update_fields=["composition", "facts", "told", "content_hash", "state", "ended"])
        Event.record(
            "dataset frozen", user=dataset.by, project=project,
            dataset=dataset.name, posts=made.posts, hash=dataset.content_hash[:12],
        )  # fmt: skip
        upkeep.look_again()


def end(dataset: Dataset, state: DatasetState, error: str = "") -> None:
    """Only while it is still ours. What was copied goes: half a dataset is none."""
    ours = Dataset.objects.filter(pk=dataset.pk, state=DatasetState.FREEZING, started=dataset.started)
    with transaction.atomic():
        ended = ours.update(state=state, error=error, ended=timezone.now())
        if ended:
            verb = "freezing failed" if state == DatasetState.FAILED else "freezing stopped"
            Event.record(verb, user=dataset.by, project=dataset.project, dataset=dataset.name)
    if ended:
        dataset.items.all().delete()
    dataset.refresh_from_db()
