"""Label Studio: a task a post, with a prediction for each voter, people's answers, and the labelling page."""

from collections.abc import Iterator
from typing import Any

from annotate.label_studio import tasks
from modeling.datasets.items import Item
from modeling.models import Dataset

from . import pictures
from .members import Member, Options, as_array, gathered, picture_first, readme

TASKS, CONFIG = "tasks.json", "labeling_config.xml"
LOCAL_FILES = "/data/local-files/?d="

HOW = f"""
## Reading this export

Start Label Studio with LOCAL_FILES_SERVING_ENABLED=true and LOCAL_FILES_DOCUMENT_ROOT=this folder. In a new project
paste {CONFIG} as the labelling interface, add its folder `{pictures.FOLDER}` as local storage, which lets the pictures
be seen and needs no synchronising, and import {TASKS}. Predictions are the voters' answers, annotations are people's;
`label` in a task's meta is what they came to.
"""


def members(dataset: Dataset, options: Options) -> Iterator[Member]:
    yield readme(dataset, HOW)
    yield Member(CONFIG, iter([config(dataset).encode()]))
    yield Member(TASKS, gathered(as_array(map(task, picture_first(dataset, options.splits)))))
    if options.with_pictures:
        yield from pictures.members(dataset, options.splits)


def config(dataset: Dataset) -> str:
    facts = dataset.facts
    labels = [(label["name"], label.get("colour", ""), label.get("key", "")) for label in facts["labels"]]
    has_pictures = any(split["pictures"] for split in dataset.composition["splits"].values())
    return tasks.config(facts["question"], labels, facts["asks_incongruous"], has_pictures) + "\n"


def task(item: Item) -> dict[str, Any]:
    made = tasks.task(
        id=item.id,
        text=item.text,
        image=f"{LOCAL_FILES}{pictures.FOLDER}/{item.image}" if item.image else "",
        source=item.source,
        at=item.at,
        predictions=[prediction(vote) for vote in item.votes],
        annotations=[annotation(review) for review in item.reviews],
    )
    return made | {"meta": {"label": item.label, "label_source": item.label_source, "split": item.split}}


def prediction(vote: dict[str, Any]) -> dict[str, Any]:
    return tasks.prediction(vote["voter"], vote.get("label", ""), vote.get("confidence"), vote.get("incongruous"))


def annotation(review: dict[str, Any]) -> dict[str, Any]:
    return tasks.annotation(review.get("label", ""), review.get("incongruous"), review.get("note", ""))
