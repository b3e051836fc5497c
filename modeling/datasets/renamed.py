"""Labels that were renamed since a dataset was frozen: they are the same labels still, and a dataset never changes."""

from django.db.models import Count

from modeling.models import Dataset


def was_called(dataset: Dataset) -> dict[str, str]:
    """Of each label that has another name now, the one that the dataset knows it by: that of its posts."""
    frozen = {label["name"] for label in dataset.facts["labels"]}
    now = dict(dataset.project.labels.values_list("pk", "name"))
    gone, new = frozen - set(now.values()), [pk for pk, name in now.items() if name not in frozen]
    if not gone or not new:
        return {}
    stands = dataset.items.filter(post__label__in=new, label__in=gone).order_by()
    counted = stands.values_list("post__label", "label").annotate(n=Count("pk")).order_by("-n")
    found: dict[str, str] = {}
    for pk, name, _ in counted:
        if now[pk] not in found and name not in found.values():
            found[now[pk]] = name
    return found
