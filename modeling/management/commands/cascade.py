from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.models import Project, Voter
from modeling.cascade import cascades, choosing, told
from modeling.models import Cascade, CascadeState, Dataset, Run


class Command(BaseCommand):
    help = "What a cheap first stage before a run saves and costs, from what both have answered already."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, help="slug")
        parser.add_argument("--first", required=True, metavar="NAME", help="a voter, or run-N, a classifier")
        parser.add_argument("--second", required=True, metavar="run-N", help="whom to ask where the first is unsure")
        parser.add_argument("--k", type=int, default=5, help="candidates: the first stage's likeliest labels")
        parser.add_argument("--dataset", help="its name; the latest frozen one otherwise")
        parser.add_argument("--threshold", type=float, help="use the point of the curve nearest to this")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']}.")
        try:
            made = self.fitted(project, options)
            if options["threshold"] is not None:
                cascades.use(made, options["threshold"], None, queue=False)
                cascades.carry_out(made)
        except cascades.Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write("\n".join(told.lines(made)))

    def fitted(self, project: Project, options: dict[str, Any]) -> Cascade:
        """The same parts make the same cascade: it is fitted anew, with the answers that are there by now."""
        dataset, first, second = self.parts(project, options)
        parts = {"voter" if isinstance(first, Voter) else "run": first}
        same = project.cascades.filter(dataset=dataset, second=second, k=options["k"], **parts)
        made = same.first() or cascades.make(project, None, dataset, first, second, options["k"], queue=False)
        cascades.again(made, queue=False)
        cascades.carry_out(made)
        if made.state == CascadeState.LACKING:
            raise CommandError("\n".join(lack.words for lack in cascades.lacks(made)))
        if made.state != CascadeState.DONE:
            raise CommandError(made.error or f"{made}: {made.get_state_display().lower()}. Try again in a moment.")
        return made

    def parts(self, project: Project, options: dict[str, Any]) -> tuple[Dataset, Voter | Run, Run]:
        frozen = project.datasets.frozen()
        dataset = frozen.filter(name=options["dataset"]).first() if options["dataset"] else frozen.first()
        if dataset is None:
            raise CommandError("There is no such frozen dataset. Freeze one first.")
        firsts, seconds = choosing.firsts(project), choosing.seconds(project)
        first, second = choosing.named(firsts, options["first"]), choosing.named(seconds, options["second"])
        if first is None:
            raise CommandError(
                f"“{options['first']}” is no first stage: it takes a voter that has said how likely labels are, or a "
                f"classifier that is trained. There are: {listed(firsts)}."
            )
        if not isinstance(second, Run):
            raise CommandError(f"The second stage is a run that is done, run-N. There are: {listed(seconds)}.")
        return dataset, first, second


def listed(stages: list[choosing.Stage]) -> str:
    return ", ".join(one.key for one in stages[:10]) or "none yet"
