from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.models import Project
from modeling.models import Dataset, Evaluation, Needs, PreLabelling, Round, RoundState, Run
from modeling.rounds import rounds, steps, told
from modeling.rounds.plan import Plan
from modeling.training import training_presets

from .train import setting

PLANNED = {"threshold": "threshold", "growth": "growth", "audit_rate": "audit_rate", "doubts": "doubts",
           "error_allowed": "error_allowed", "recipe": "recipe", "base": "base"}  # fmt: skip


class Command(BaseCommand):
    help = "The next round, as far as it goes without people: freeze, train, measure, pre-label. Again, it goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--recipe", default="", help=", ".join(p.key for p in training_presets.available()))
        parser.add_argument("--base", default="", metavar="MODEL", help="tiny, a name on the hub, or a folder")
        parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="such as lr=1e-4")
        usual = Plan()
        parser.add_argument("--threshold", type=float, default=usual.threshold, help="how likely a label must be")
        parser.add_argument("--growth", type=float, default=usual.growth, help="of a label's share, at most; 0: any")
        parser.add_argument("--audit-rate", type=float, default=usual.audit_rate)
        parser.add_argument("--doubts", type=int, default=usual.doubts, help="so many go to people at most")
        parser.add_argument("--error-allowed", type=float, default=usual.error_allowed, help="of its model's labels")
        parser.add_argument("--yes", action="store_true", help="settle without a word, if few of it should be wrong")
        parser.add_argument("--by-hand", action="store_true", help="a lead decides where a rule is broken")
        parser.add_argument("--enough", action="store_true", help="go on without the answers that are open")
        parser.add_argument("--roll-back", action="store_true", help="take back what this round's model settled")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']}.")
        one = self.at_hand(project, options)
        try:
            rounds.carry_out(one, {"dataset": self.froze, "run": self.trained, "evaluation": self.asked,
                                   "prelabelling": self.asked})  # fmt: skip
        except KeyboardInterrupt:
            rounds.stop(one)
            raise CommandError(f"Stopped. Go on with: manage.py round --project {project.slug}") from None
        finally:
            self.clear()
        for line in told.lines(one):
            self.stdout.write(line)
        if one.state in (RoundState.HELD_UP, RoundState.STOPPED):
            raise CommandError(one.why or "It was stopped.")

    def at_hand(self, project: Project, options: dict[str, Any]) -> Round:
        """The one that is open, or a new one."""
        there = project.rounds.select_related(*rounds.RELATED)
        one = (there if options["roll_back"] else there.open()).first()
        if options["roll_back"]:
            if one is None or not rounds.roll_back(one, None, queue=False):
                raise CommandError("There is no round that could be rolled back.")
            return one
        if one is None:
            try:
                return rounds.start(project, None, plan_of(options), queue=False)
            except (rounds.Refused, ValueError) as refusal:
                raise CommandError(str(refusal)) from refusal
        if options["enough"]:
            rounds.go_on(one, None, queue=False)
        if given := [name for name in PLANNED if options[name] != getattr(Plan(), PLANNED[name])]:
            told = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise CommandError(f"{one} is under way, and its plan stands: {told} can be given for the next one.")
        if options["yes"] and one.needs == Needs.WORD:
            if not steps.few_are_wrong(one, Plan.from_json(one.plan)):
                raise CommandError("Too much of it should be wrong, or nobody can tell how much: settle on its page.")
            rounds.settle(one, None, queue=False)
        rounds.resume(one, None, queue=False)
        return one

    # --- While it goes

    def froze(self, dataset: Dataset) -> None:
        self.line(f"freezing {dataset.name}: {dataset.done:,} of {dataset.total:,}")

    def trained(self, run: Run) -> None:
        step = f"step {run.step:,} of {run.steps:,}" if run.steps else run.doing
        self.line(f"{str(run).lower()}: {step}")

    def asked(self, one: Evaluation | PreLabelling) -> None:
        of = f" {one.done:,} of {one.total:,}" if one.done else ""
        self.line(f"{str(one).lower()}: {one.doing}{of}")

    def line(self, words: str) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"\r\x1b[K{words}", ending="")
            self.stderr.flush()

    def clear(self) -> None:
        if self.stderr.isatty():
            self.stderr.write("")


def plan_of(options: dict[str, Any]) -> Plan:
    return Plan(
        base=options["base"], recipe=options["recipe"], settings=dict(map(setting, options["set"])),
        threshold=options["threshold"], growth=options["growth"], audit_rate=options["audit_rate"],
        doubts=options["doubts"], error_allowed=options["error_allowed"], by_rule=not options["by_hand"],
        unattended=options["yes"],
    )  # fmt: skip
