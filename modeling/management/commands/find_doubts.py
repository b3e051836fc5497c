from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from modeling.doubting import doubted, doubts
from modeling.models import Dataset, DoubtSearch, DoubtState

SHOWN = 10
WIDE = 70  # characters of a post


class Command(BaseCommand):
    help = "Find labels of a frozen dataset that look wrong to a model which had not seen them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--dataset", required=True, metavar="NAME", help="as it is called, such as v1")
        parser.add_argument("--send", type=int, default=0, metavar="N", help="the first N that nobody was asked about")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["send"] < 0:
            raise CommandError("--send is a number of posts.")
        search = self.found(self.dataset(options["project"], options["dataset"]))
        found = doubted.found_by(search)
        self.stdout.write(
            f"{found.all:,} of {search.posts:,} labels doubted by {search.source}; "
            f"it agrees with {search.agreed:,}, the commonest label would with {search.commonest:,}."
        )
        if search.wordless:
            self.stdout.write(f"Left out {search.wordless:,}: they have no words")
        for one in doubted.page_of(doubted.told(search), {}, SHOWN).doubts:
            words = " ".join(one.item.text.split())[:WIDE]
            self.stdout.write(f"{one.chance:.2f}  {one.item.label} -> {one.suggested}  {one.item.external_id}  {words}")
        if options["send"]:
            opened = doubted.send(search, None, doubted.told(search), options["send"])
            self.stdout.write(f"{opened:,} {'post waits' if opened == 1 else 'posts wait'} for people now.")

    def dataset(self, slug: str, name: str) -> Dataset:
        dataset = Dataset.objects.frozen().select_related("project").filter(project__slug=slug, name=name).first()
        if not dataset:
            frozen = Dataset.objects.frozen().filter(project__slug=slug).values_list("name", flat=True)
            known = ", ".join(frozen) or "none"
            raise CommandError(f"There is no frozen dataset “{name}” in “{slug}”. There: {known}.")
        return dataset

    def found(self, dataset: Dataset) -> DoubtSearch:
        search = doubts.ask(dataset, None, queue=False)
        try:
            begun = doubts.carry_out(search, self.tell)
        except KeyboardInterrupt:
            doubts.stop(dataset)
            raise CommandError("Stopped; nothing was kept.") from None
        finally:
            self.tell(None)
        if not begun:
            raise CommandError("They are being looked for already; try again when that has ended.")
        if search.state != DoubtState.READY:
            raise CommandError(search.error or "It was stopped.")
        return search

    def tell(self, search: DoubtSearch | None) -> None:
        if self.stderr.isatty():
            told = f"{search.done:,} of {search.total:,} models trained" if search else ""
            self.stderr.write(f"\r\x1b[K{told}", ending="")
