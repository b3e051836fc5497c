"""What lies in a bucket, as it is measured and cleaned up: by its list alone, whatever else another puts there."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from annotate.models import Image, ImportRun
from annotate.models.importing import ImportState
from annotate.operating import measuring, pruning

from . import test_s3
from .make import make_project
from .test_backup import make_picture

pytestmark = pytest.mark.django_db(transaction=True)
s3, there = test_s3.s3, test_s3.there


@pytest.fixture
def asked(there) -> Counter[str]:
    """How often what was asked of the bucket."""
    counted = Counter[str]()
    storage: Any = default_storage
    for client in {id(one): one for one in (storage.client, storage.bucket.meta.client)}.values():
        client.meta.events.register("before-send.s3", lambda request, **more: counted.update([request.method]))
    return counted


def later(monkeypatch, days: int = 400) -> None:
    """What was written just now is old: nothing in a bucket can be given another date."""
    moment = timezone.now() + timedelta(days=days)
    monkeypatch.setattr("annotate.operating.pruning.timezone.now", lambda: moment)


def test_a_bucket_is_looked_through_by_its_list_alone(asked):
    project = make_project()
    for number in range(20):
        default_storage.save(f"images/00/{number:064x}.png", ContentFile(b"x"))
        default_storage.save(f"thumbs/00/{number:064x}.webp", ContentFile(b"x"))
        path = default_storage.save(f"uploads/{number}.csv", ContentFile(b"x"))
        ended = timezone.now() - timedelta(days=400)
        ImportRun.objects.create(project=project, name="a.csv", path=path, state=ImportState.DONE, ended=ended)
    asked.clear()
    found = {each.rule.key: len(each.going) for each in pruning.look(shared=True)}
    assert (found["uploads"], found["orphans"]) == (20, 0)
    assert asked == {"GET": 1}
    taken = {one.what: one for one in measuring.measured(shared=True)}
    assert (taken[measuring.UPLOADS].bytes, taken[measuring.UPLOADS].held) == (20, {project.pk: 20})
    assert asked.keys() == {"GET"}


def test_a_bucket_tells_of_more_files_than_it_lists_at_once(there, monkeypatch):
    for number in range(5):
        default_storage.save(f"uploads/{number}.csv", ContentFile(b"x" * number))
    storage: Any = default_storage
    paged = storage.client.get_paginator("list_objects_v2")
    monkeypatch.setattr(storage.client, "get_paginator", lambda name: Few(paged))
    files = list(pruning.files_in("uploads"))
    assert [(name, size) for name, size, _ in files] == [(f"uploads/{n}.csv", n) for n in range(5)]
    assert all(abs(timezone.now() - file.changed) < timedelta(minutes=1) for file in files)


class Few:
    def __init__(self, paged: Any) -> None:
        self.paged = paged

    def paginate(self, **asked: Any) -> Any:
        return self.paged.paginate(**asked, PaginationConfig={"PageSize": 2})


def test_strays_and_halves_go_and_what_is_known_or_no_file_of_ours_stays(there, monkeypatch):
    known = make_picture(1)
    Image.objects.filter(pk=known.pk).update(created=timezone.now() + timedelta(days=400))
    stray = default_storage.save(f"images/ab/{'ab' * 32}.png", ContentFile(b"x"))
    half = default_storage.save("runs/1/result.zip.part", ContentFile(b"x"))
    prefix, name = f"{test_s3.PREFIX}/", test_s3.NAME
    others = {
        f"{prefix}images/", f"{prefix}images//{'cd' * 32}.png", f"{prefix}a/../b.part", f"{prefix}../e.part",
        f"{test_s3.PREFIX}-2/d.part", "elsewhere/c.part",
    }  # fmt: skip
    for key in others:
        there.put_object(Bucket=name, Key=key, Body=b"x")
    assert [each.going for each in pruning.look(shared=True) if each.rule.key in {"orphans", "halves"}] == [[], []]
    later(monkeypatch)
    found = {each.rule.key: [one.what for one in each.going] for each in pruning.look(shared=True)}
    assert (found["orphans"], found["halves"]) == ([stray], [half])
    pruning.prune(pruning.look(shared=True))
    left = {told["Key"] for told in there.list_objects_v2(Bucket=name)["Contents"]}
    assert others <= left
    assert not {f"{prefix}{stray}", f"{prefix}{half}"} & left
    assert len([key for key in left if known.sha256 in key]) == 2
