from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.models import Project
from modeling.datasets import asking, dataset, marks
from modeling.datasets.card_text import SPLIT_NAMES, how_wrong
from modeling.datasets.composition import Composition, thin
from modeling.datasets.recipe import SOURCES, Recipe
from modeling.datasets.splits import REASONS
from modeling.models import Dataset


class Command(BaseCommand):
    help = "Freeze settled posts into a dataset, which never changes; --dry-run tells what it would be made of."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--name", help="such as v1; left out, the next free number")
        parser.add_argument(
            "--like", default="", metavar="NAME", help="the recipe of an earlier dataset, but for what follows"
        )
        parser.add_argument(
            "--sources", metavar="A,B", help=f"where labels come from: {', '.join(SOURCES)}; default: all"
        )
        parser.add_argument("--least-confidence", type=float, metavar="SHARE", help="of machines' labels, from 0 to 1")
        parser.add_argument("--one-per-group", action="store_true", default=None, help="of near-duplicates")
        parser.add_argument("--size", type=int, metavar="N", help="posts at most, the locked test set aside")
        parser.add_argument("--validation", type=float, metavar="SHARE", help="default: 0.1")
        parser.add_argument("--test", type=float, metavar="SHARE", help="default: 0.1")
        parser.add_argument(
            "--cap", action="append", metavar="LABEL=N", help="most posts to train on; again for each label"
        )
        parser.add_argument("--weight", action="append", metavar="LABEL=W", help="in training; again for each label")
        parser.add_argument(
            "--balanced", action="store_true", default=None, help="weights that make up for rare labels"
        )
        parser.add_argument(
            "--incongruous", type=float, metavar="SHARE", help="of what is trained on; 0.2 to 0.3 is good"
        )
        parser.add_argument("--dry-run", action="store_true", help="freeze nothing, and tell what it would be")

    def handle(self, *args: Any, **options: Any) -> None:
        project = self.project(options["project"])
        try:
            recipe = asking.recipe_of(project, options["like"], told(options))
        except asking.NotUnderstood as problem:
            raise CommandError(str(problem)) from problem
        if options["dry_run"]:
            self.compose(dataset.choose(project, recipe)[2], recipe)
            self.stdout.write("Nothing was frozen.")
            return
        made = self.frozen(project, options["name"] or dataset.next_name(project), recipe)
        self.compose(Composition.from_json(made.composition), recipe)
        self.stdout.write(f"{made.name} is frozen. SHA-256: {made.content_hash}")

    def project(self, slug: str) -> Project:
        project = Project.objects.filter(slug=slug).first()
        if not project:
            known = ", ".join(Project.objects.values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"There is no project “{slug}”. Projects: {known}.")
        return project

    def frozen(self, project: Project, name: str, recipe: Recipe) -> Dataset:
        """Whatever stops it, no half dataset is left behind, nor a name that is taken by none."""
        try:
            made = dataset.ask(project, None, name, recipe, queue=False)
        except (ValidationError, dataset.Refused) as refusal:
            told = refusal.messages[0] if isinstance(refusal, ValidationError) else str(refusal)
            raise CommandError(told) from refusal
        try:
            begun = dataset.carry_out(made, self.tell)
        except KeyboardInterrupt:
            made.delete()
            raise CommandError("Stopped; nothing was frozen.") from None
        finally:
            self.clear()
        if not begun:
            made.delete()
            raise CommandError("Another dataset of this project is being frozen; try again when it has ended.")
        if not made.is_frozen:
            raise CommandError(made.error or "It was stopped; nothing was frozen.")
        return made

    def tell(self, made: Dataset) -> None:
        if not self.stderr.isatty():
            return
        pace = marks.pace(made)
        rate = f", {pace.per_second:,.0f} a second" if pace else ""
        left = f", {pace.seconds_left} s left" if pace and pace.seconds_left is not None else ""
        doing = f"{made.done:,} of {made.total:,} posts{rate}{left}" if made.total else "Reading and choosing"
        self.stderr.write(f"\r\x1b[K{doing}", ending="")

    def clear(self) -> None:
        if self.stderr.isatty():
            self.stderr.write("\r\x1b[K", ending="")

    def compose(self, made: Composition, recipe: Recipe) -> None:
        for name, part in made.splits.items():
            if part.posts:
                labels = ", ".join(f"{label} {posts:,}" for label, posts in part.labels.items())
                self.stdout.write(f"{SPLIT_NAMES[name]}: {part.posts:,} posts ({labels})")
        self.stdout.write(
            f"Labels from: {', '.join(f'{name} {posts:,}' for name, posts in made.sources.items()) or 'none'}"
        )
        for reason, posts in made.left_out.items():
            self.stdout.write(f"Left out {posts:,}: {REASONS[reason]}")
        if made.wrong and made.wrong.machines:
            self.stdout.write(f"Wrong: {how_wrong(made.wrong)}")
        for warning in thin(made, recipe):
            self.stdout.write(self.style.WARNING(f"Thin: {warning}"))


def told(options: dict[str, Any]) -> dict[str, Any]:
    plain = ("least_confidence", "one_per_group", "size", "validation", "test", "balanced", "incongruous")
    sources = options["sources"]
    return {name: options[name] for name in plain} | {
        "sources": None if sources is None else [source.strip() for source in sources.split(",") if source.strip()],
        "caps": asking.by_label(options["cap"], "cap", int),
        "weights": asking.by_label(options["weight"], "weight", float),
    }
