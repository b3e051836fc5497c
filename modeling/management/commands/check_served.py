import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from modeling.models import JobState, ServedCheck, Serving, Split, Way
from modeling.serving import checking
from modeling.serving.at_work import Refused

from .write_out import run_of


class Command(BaseCommand):
    help = "Ask a served model about posts, and tell whether it answers as the run did that it is made of."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--run", required=True, type=int, metavar="N")
        parser.add_argument("--form", help="of several that were written out; otherwise the latest")
        parser.add_argument("--url", default="", metavar="URL", help="such as http://localhost:8000/v1; left out, the "
                            "folder itself is asked")  # fmt: skip
        parser.add_argument("--model", default="", metavar="NAME", help="as the server calls it; run-N otherwise")
        parser.add_argument("--on", default=Split.HOLDOUT, choices=[Split.HOLDOUT, Split.TEST, Split.VALIDATION])
        parser.add_argument("--format", choices=["words", "json"], default="words")

    def handle(self, *args: Any, **options: Any) -> None:
        serving = self.serving(options)
        way = Way.SERVER if options["url"] else Way.FOLDER
        try:
            check = checking.ask(serving, None, way, options["on"], options["url"], options["model"], queue=False)
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        try:
            checking.carry_out(check, self.tell)
        except KeyboardInterrupt:
            raise CommandError("Stopped.") from None
        finally:
            if self.stderr.isatty():
                self.stderr.write("")
        if check.state != JobState.DONE:
            raise CommandError(check.error or f"It was {check.get_state_display().lower()}.")
        if options["format"] == "json":
            self.stdout.write(json.dumps(check.told, ensure_ascii=False, indent=1))
        else:
            self.stdout.write("\n".join(lines(check.told)))
        if not check.told["agrees"]:
            raise CommandError("It does not answer as the run did.")

    def serving(self, options: dict[str, Any]) -> Serving:
        run = run_of(options["project"], options["run"])
        there = run.servings.filter(state=JobState.DONE)
        there = there.filter(form=options["form"]) if options["form"] else there
        related = ("project", "run__dataset", "run__project")
        found: Serving | None = there.select_related(*related).order_by("-pk").first()
        if found is None:
            first = f"manage.py write_out --project {options['project']} --run {run.pk}"
            raise CommandError(f"{run} is not written out{' so' if options['form'] else ''}. First: {first}")
        return found

    def tell(self, check: ServedCheck) -> None:
        if self.stderr.isatty():
            of = f" {check.done:,} of {check.total:,}" if check.total else ""
            self.stderr.write(f"\r\x1b[K{check.doing}{of}", ending="")
            self.stderr.flush()


def lines(told: dict[str, Any]) -> list[str]:
    said = [f"The same answer: {told['same']:,} of {told['n']:,} (95%: {told['low']:.1%} to {told['high']:.1%})."]
    if told["mean"] is not None:
        said.append(f"Probabilities are {told['mean']:.4f} apart on average, {told['largest']:.4f} at most.")
    if told["own_alone"]:
        said.append(f"Of {told['own_alone']:,} posts only the probability of the written label is known.")
    if told["before"] and told["after"]:
        said.append(f"Macro F1: {told['before']['value']:.3f} the run, {told['after']['value']:.3f} served.")
    if told["no_label"]:
        said.append(f"{told['no_label']:,} answers named no label.")
    if told["refused"]:
        said.append(f"{told['refused']:,} posts were refused: {told['why_refused']}")
    for row in told["differ"]:
        now = row["after"] or f"no label ({row['content'][:60]})"
        said.append(f"  {row['id']}: {row['before'] or 'no label'} before, {now} now; labelled {row['truth']}")
    return [*said, *(["It answers as the run did."] if told["agrees"] else [])]
