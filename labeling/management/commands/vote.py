import time
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.browse import Filters
from annotate.models import Project, Voter
from labeling import batch, runs
from labeling.models import Mode, RunState, VotingRun
from labeling.voting import carry_out

NAP = 5.0
KNOWN = [field.name for field in fields(Filters) if field.name != "order"]


class Command(BaseCommand):
    help = "Ask voters about every post they have not voted on. Started again, it carries on where it was."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--voter", action="append", default=[], metavar="NAME", help="again for each; default: all")
        parser.add_argument("--budget", metavar="DOLLARS", help="never passed, whatever is in flight")
        parser.add_argument(
            "--posts", default="", metavar="FILTER", help="as in a list's address: state=waiting&q=moon"
        )
        parser.add_argument("--limit", type=int, help="a pilot of so many posts")
        parser.add_argument(
            "--batch", action="store_true", help="at half price: submit to the provider, to be answered within a day"
        )
        parser.add_argument("--wait", action="store_true", help="with --batch: stay until everything is answered")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if not project:
            raise CommandError(f"There is no project “{options['project']}”.")
        voters = self.voters(project, options["voter"])
        if options["wait"] and not options["batch"]:
            raise CommandError("--wait goes with --batch; without it the command stays anyway.")
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError("A pilot has at least one post.")
        try:
            run = self.begin(project, voters, options)
        except runs.CannotStart as reason:
            raise CommandError(str(reason)) from reason
        try:
            self.work(run, options["wait"])
        except KeyboardInterrupt:
            raise CommandError("Stopped. Every answer is stored; the same command carries on.") from None
        self.conclude(run)

    def work(self, run: VotingRun, wait: bool) -> None:
        if run.mode != Mode.BATCH:
            if not carry_out(run, self.tell):
                raise CommandError("A worker has this run already; watch it in the browser.")
            return
        batch.carry_out(run)
        while wait and run.state == RunState.RUNNING:
            self.tell(run)
            time.sleep(NAP)
            batch.carry_out(run)  # when it is due, and unless the schedule was there first
            run.refresh_from_db()

    def voters(self, project: Project, names: list[str]) -> list[Voter]:
        """A voter that was replaced votes again only where it is named."""
        askable = {voter.name: voter for voter in runs.could_be_asked(project)}
        if not askable:
            raise CommandError("This project has no voters to ask yet; add some on its page “Votes”.")
        if unknown := [name for name in names if name not in askable]:
            known = ", ".join(askable) or "none yet"
            raise CommandError(f"No voter to ask is called {' or '.join(unknown)}. There are: {known}.")
        return [askable[name] for name in names] if names else runs.askable(project)

    def begin(self, project: Project, voters: list[Voter], options: dict[str, Any]) -> VotingRun:
        """A run that these voters broke off is carried on, not begun anew: it has its own budget and count."""
        budget, posts = self.dollars(options["budget"]), self.filters(options["posts"])
        broken_off = VotingRun.objects.under_way().filter(project=project, parts__voter__in=voters).distinct().first()
        if broken_off and broken_off.mode == Mode.BATCH and broken_off.waits_until:
            self.stdout.write(f"Carrying on with voting run {broken_off.pk}, whose batches are at the provider.")
            return broken_off
        if broken_off and set(broken_off.parts.values_list("voter", flat=True)) == {voter.pk for voter in voters}:
            if not runs.resume(broken_off, budget, queue=False):
                raise CommandError("These voters are at work in another process; watch it in the browser.")
            self.stdout.write(f"Carrying on with voting run {broken_off.pk}, on the posts that it was started with.")
            return broken_off
        mode = Mode.BATCH if options["batch"] else Mode.LIVE
        limit = options["limit"]
        return runs.start(project, None, voters, posts=posts, budget=budget, limit=limit, queue=False, mode=mode)

    def filters(self, written: str) -> dict[str, str]:
        """A filter that was not understood would ask about every post, and cost accordingly."""
        try:
            told = dict(parse_qsl(written.lstrip("?"), keep_blank_values=True, strict_parsing=bool(written)))
        except ValueError:
            raise CommandError(f"“{written}” is not a filter; write it as state=waiting&q=moon.") from None
        if unknown := sorted(told.keys() - KNOWN):
            raise CommandError(f"Posts cannot be chosen by {' or '.join(unknown)}; there are {', '.join(KNOWN)}.")
        return {name: value for name, value in told.items() if value}

    def dollars(self, written: str | None) -> Decimal | None:
        try:
            amount = None if written is None else Decimal(written.lstrip("$"))
        except InvalidOperation:
            raise CommandError(f"“{written}” is not an amount; write it as 5.00.") from None
        if amount is not None and not (amount.is_finite() and amount > 0):
            raise CommandError("A budget is more than nothing.")
        return amount

    def tell(self, run: VotingRun) -> None:
        if not self.stderr.isatty():
            return
        parts = list(run.parts.select_related("voter"))
        line = "  ".join(f"{part.voter.name} {part.done:,}/{part.total:,}" for part in parts)
        self.stderr.write(f"\r\x1b[K{line}  ${sum(part.cost for part in parts):.4f}", ending="")

    def conclude(self, run: VotingRun) -> None:
        if self.stderr.isatty():
            self.stderr.write("\r\x1b[K", ending="")
        for part in run.parts.select_related("voter"):
            cost = "price unknown" if part.unpriced else f"${part.cost:.4f}"
            failed = part.failures.count()
            self.stdout.write(
                f"{part.voter.name}: {part.done:,} votes, {part.abstained:,} abstentions, {failed:,} failures, {cost}"
                + (f". {part.stopped}" if part.stopped else "")
            )
        if run.state == RunState.RUNNING:
            n = run.at_provider
            told = "1 request is" if n == 1 else f"{n:,} requests are"
            self.stdout.write(f"{told} at the provider, submitted and waiting. {run.error}".strip())
        elif run.state != RunState.DONE:
            raise CommandError(run.error or f"The run was {run.get_state_display().lower()}.")
