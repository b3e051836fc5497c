from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import removing
from annotate.models import Post, Project


class Command(BaseCommand):
    help = "Remove posts for legal reasons: for good, with all that was said of them, and kept from coming back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--id", action="append", metavar="ID", help="as the post is called; may be given again")
        which.add_argument("--ids-from", type=Path, metavar="FILE", help="one id a line")
        parser.add_argument("--reason", required=True, help="stays on record; quote nothing of the posts")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if not project:
            raise CommandError(f"There is no project “{options['project']}”.")
        removed, already, unknown = 0, 0, []
        for external_id in dict.fromkeys(options["id"] or ids_in(options["ids_from"])):
            post = project.posts.select_related("project").defer("search").filter(external_id=external_id).first()
            if post:
                removed += self.remove(post, options["reason"])
            elif project.removals.filter(id_hash=removing.hash_of(external_id)).exists():
                already += 1
            else:
                unknown.append(external_id)
        told = f"{removed:,} removed for good" + (f", {already:,} removed before" if already else "") + "."
        self.stdout.write(told)
        if unknown:
            raise CommandError(f"Not in {project.name}: {', '.join(unknown[:20])}{', …' if len(unknown) > 20 else ''}.")

    def remove(self, post: Post, reason: str) -> int:
        try:
            removing.remove(post, None, reason)
        except removing.NotRemoved as refusal:
            raise CommandError(str(refusal)) from refusal
        return 1


def ids_in(path: Path) -> Iterable[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"The ids in {path} cannot be read: {error}.") from error
    return [line.strip() for line in lines if line.strip()]
