import sys
from typing import Any
from urllib.parse import parse_qsl

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.models import Project
from modeling.models import Cascade, JobState, PreLabelling, Run
from modeling.prelabelling import prelabelling as room
from modeling.prelabelling import told


class Command(BaseCommand):
    help = "Ask a run's model about posts without a label, say what a threshold means, and settle what it is sure of."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, help="slug")
        parser.add_argument("--run", type=int, help="its number; the latest that is done otherwise")
        parser.add_argument("--cascade", type=int, help="its number: the run is asked where the first stage is unsure")
        what = "which, as the filters in a list's address: state=waiting (as usual), state=contested, source=reddit"
        parser.add_argument("--posts", metavar="FILTER", help=f"{what}; '' for all, whose conflicts are then listed")
        parser.add_argument("--bits", type=int, default=0, choices=[0, 4, 8, 16], help="0: as it was trained")
        parser.add_argument("--batch", type=int, default=16)
        parser.add_argument("--threshold", type=float, default=0.9, help="how likely a label must be to settle a post")
        growth = "times its share before that a label may come to have; 0: any"
        parser.add_argument("--growth", type=float, default=1.5, help=growth)
        parser.add_argument("--audit-rate", type=float, default=0.1, help="of what is settled, checked blind by people")
        parser.add_argument("--doubts", type=int, default=200, help="so many go to people at most")
        parser.add_argument("--yes", action="store_true", help="settle without asking again")
        parser.add_argument("--apply", type=int, metavar="N", help="settle what pre-labelling N found, and ask nothing")
        parser.add_argument("--take-back", type=int, metavar="N", help="take back every label of pre-labelling N")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']}.")
        try:
            if options["take_back"]:
                self.take_back(known(project, options["take_back"]))
                return
            found = known(project, options["apply"]) if options["apply"] else self.asked(project, options)
            self.settle(found, options)
        except room.Refused as refusal:
            raise CommandError(str(refusal)) from refusal

    def asked(self, project: Project, options: dict[str, Any]) -> PreLabelling:
        cascade = cascade_in(project, options["cascade"])
        run = cascade.second if cascade else run_in(project, options["run"])
        found = room.ask(
            project, None, run, filters_of(options["posts"]), bits=options["bits"], batch=options["batch"],
            queue=False, cascade=cascade, **how(options),
        )  # fmt: skip
        self.carry_out(found)
        return found

    def settle(self, found: PreLabelling, options: dict[str, Any]) -> None:
        if not found.waits_for_a_word:
            raise CommandError(f"{found} waits for no word: it is at “{found.get_goal_display().lower()}”.")
        changes = {**how(options), "threshold": options["threshold"]}
        for name, value in room.checked(changes).items():
            setattr(found, name, value)
        for line in told.meaning(found):
            self.stdout.write(line)
        if not self.agreed(options):
            self.stdout.write(
                f"Nothing is settled yet. Settle with --apply {found.pk} --yes, or on {told.address(found)}"
            )
            return
        if not room.apply(found, None, queue=False, **changes):
            raise CommandError("Somebody else has settled it meanwhile.")
        self.carry_out(found)
        for line in told.result(found):
            self.stdout.write(line)

    def agreed(self, options: dict[str, Any]) -> bool:
        if options["yes"]:
            return True
        if not sys.stdin.isatty():
            return False
        return input("Settle them? [y/N] ").strip().casefold() in ("y", "yes")

    def take_back(self, found: PreLabelling) -> None:
        if not room.take_back(found, None, queue=False):
            raise CommandError(f"{found} has settled nothing that could be taken back.")
        self.carry_out(found)
        for line in told.result(found):
            self.stdout.write(line)

    def carry_out(self, found: PreLabelling) -> None:
        try:
            room.carry_out(found, self.progress)
        finally:
            if self.stderr.isatty():
                self.stderr.write("")
        if found.state != JobState.DONE:
            raise CommandError(found.error or f"It was {found.get_state_display().lower()}.")

    def progress(self, found: PreLabelling) -> None:
        if self.stderr.isatty():
            of = f" {found.done:,} of {found.total:,}" if found.done else ""
            self.stderr.write(f"\r\033[K{found.doing}{of}", ending="")
            self.stderr.flush()


def filters_of(written: str | None) -> dict[str, str] | None:
    """None: as usual. What sets nothing must not be passed over: it would choose every post."""
    if written is None:
        return None
    query = written.removeprefix("?")
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise CommandError(f"“{written}” is not a filter; write it as state=waiting&q=moon.") from None


def run_in(project: Project, number: int | None) -> Run:
    done = Run.objects.filter(project=project, state="done", study=None)
    run = done.filter(pk=number).first() if number else done.first()
    if run is None:
        raise CommandError("There is no such run that is done. Train one first.")
    return run


def cascade_in(project: Project, number: int | None) -> Cascade | None:
    if number is None:
        return None
    found = Cascade.objects.select_related("second", "dataset__project").filter(project=project, pk=number).first()
    if found is None:
        raise CommandError(f"There is no cascade {number} in this project.")
    return found


def known(project: Project, pk: int) -> PreLabelling:
    found = PreLabelling.objects.select_related(*room.RELATED).filter(project=project, pk=pk)
    if one := found.first():
        return one
    raise CommandError(f"There is no pre-labelling {pk} in this project.")


def how(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "threshold": options["threshold"], "growth": options["growth"], "audit_rate": options["audit_rate"],
        "most_doubts": options["doubts"],
    }  # fmt: skip
