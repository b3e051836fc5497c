"""Which template group each picture of a project belongs to, kept true while posts come in."""

from collections.abc import Iterable, Mapping

from django.db import connection
from django.db.models import Count

from annotate.images import Groups
from annotate.models import Image, Post, Project, Template


class TemplateGroups:
    def __init__(self, project: Project) -> None:
        self.project = project
        self.groups = Groups(known_fingerprints(project))
        self.home: dict[int, int | None] = {}  # of each picture placed in this run
        self.touched: set[int] = set()

    def assign(self, images: Iterable[Image]) -> None:
        """Before the posts are inserted: finds or makes every picture's group, and joins what a newcomer bridges."""
        fresh = list({image.pk: image for image in images if image.pk not in self.home}.values())
        ids = iter(free_ids(len(fresh)))
        made: list[int] = []

        def new_group() -> int:
            made.append(next(ids))
            return made[-1]

        placed = self.groups.place([image.fingerprint for image in fresh], new_group)
        self.home |= dict(zip((image.pk for image in fresh), placed.groups, strict=True))
        survivors = [pk for pk in made if pk not in placed.merged]
        Template.objects.bulk_create(Template(pk=pk, project=self.project) for pk in survivors)
        if placed.merged:
            self.join({old: into for old, into in placed.merged.items() if old not in made}, placed.merged)

    def join(self, stored: dict[int, int], merged: dict[int, int]) -> None:
        """A name given by a person outlives the group it was given to, unless the larger group has one."""
        self.home = {image: merged.get(group, group) if group else None for image, group in self.home.items()}
        templates = Template.objects.in_bulk([*stored, *stored.values()])
        for old, into in stored.items():
            Post.objects.filter(template=old).update(template=into)
            if not templates[into].name:
                templates[into].name = templates[old].name
                templates[into].save(update_fields=["name"])
        Template.objects.filter(pk__in=stored).delete()
        self.touched |= set(stored.values())
        self.touched -= set(stored)

    def template_of(self, image: Image) -> int | None:
        home = self.home[image.pk]
        if home:
            self.touched.add(home)
        return home

    def name(self, names: Mapping[Image, str]) -> None:
        """Where nobody has named them yet."""
        told = {home: name for image, name in names.items() if name and (home := self.home.get(image.pk))}
        for template, name in told.items():
            Template.objects.filter(pk=template, name="").update(name=name)

    def record_sizes(self) -> None:
        sizes = Template.objects.filter(pk__in=self.touched).annotate(members=Count("posts"))
        Template.objects.bulk_update(
            [Template(pk=pk, size=members) for pk, members in sizes.values_list("pk", "members")], ["size"]
        )
        self.touched.clear()


def known_fingerprints(project: Project) -> Iterable[tuple[int, int]]:
    return (
        Post.objects.filter(project=project, template__isnull=False, image__isnull=False)
        .values_list("template_id", "image__fingerprint")
        .distinct()
        .iterator()
    )


def free_ids(count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence('annotate_template', 'id')) FROM generate_series(1, %s)", [count]
        )
        return [pk for (pk,) in cursor.fetchall()]
