"""Our tasks against our labelling page, as Label Studio's own SDK validates them."""

import json

import pytest
from label_studio_sdk.label_interface import LabelInterface

from modeling.datasets import items


@pytest.fixture
def tasks(export):
    folder = export("label_studio")
    page = LabelInterface((folder / "labeling_config.xml").read_text())
    page.validate()
    return page, json.loads((folder / "tasks.json").read_text())


def test_every_task_with_what_was_said_of_it_fits_the_page(tasks, dataset):
    page, found = tasks
    assert len(found) == dataset.items.count()
    for task in found:
        assert all(task["data"][shown.value_name] is not None for shown in page.objects if shown.value_is_variable)
        problems = [page.validate_prediction(said, return_errors=True) for said in task.get("predictions", [])]
        assert not any(problems)
        assert all(page.validate_annotation(said) for said in task.get("annotations", []))
    assert any(task.get("annotations") for task in found)


def test_a_label_that_the_page_does_not_know_is_found(tasks):
    """So the test above can fail."""
    page, found = tasks
    [said, *_] = next(task["predictions"] for task in found if task.get("predictions"))
    said["result"][0]["value"]["choices"] = ["unheard of"]
    assert page.validate_prediction(said, return_errors=True)


def test_the_choices_are_the_labels(tasks, dataset):
    page, _ = tasks
    assert list(page.get_control("label").labels) == [label["name"] for label in dataset.facts["labels"]]
    assert {item.label for item in items.items(dataset)} <= set(page.get_control("label").labels)
