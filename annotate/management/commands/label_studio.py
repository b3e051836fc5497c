from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.label_studio import linking, running
from annotate.label_studio.server import Failed
from annotate.models import LabelStudioAnnotation, LabelStudioRun, Project
from annotate.models.label_studio import LabelStudioState, Outcome, Way

LISTED = 20


class Command(BaseCommand):
    help = "Push contested posts to Label Studio, or pull what people said of them there. Twice changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("way", choices=Way.values)
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--limit", type=int, help="push at most this many posts")
        parser.add_argument(
            "--map", action="append", default=[], metavar="EMAIL=USER",
            help="who somebody there is here, before pulling; as often as needed",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError("--limit is one post at least.")
        project = self.project(options["project"])
        for told in options["map"]:
            self.say_who(project, told)
        try:
            run = running.ask(project, None, Way(options["way"]), options["limit"], queue=False)
            running.carry_out(run, self.tell)
        except Failed as failure:
            raise CommandError(str(failure)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped. What is done stands; run the same command again to go on.") from None
        self.conclude(run)

    def project(self, slug: str) -> Project:
        project = Project.objects.filter(slug=slug).first()
        if not project:
            known = ", ".join(Project.objects.values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"There is no project “{slug}”. Projects: {known}.")
        return project

    def say_who(self, project: Project, told: str) -> None:
        email, _, username = told.partition("=")
        people = [person for person in linking.people(project) if person.email.casefold() == email.casefold()]
        user = linking.candidates(project).filter(username=username).first()
        if not people:
            known = ", ".join(person.email for person in linking.people(project)) or "nobody; push or pull once first"
            raise CommandError(f"Nobody with the address {email} is known from Label Studio. Known: {known}.")
        if not user:
            raise CommandError(f"Nobody called “{username}” is in this project.")
        linking.say_who(project, {person.pk: user.pk for person in people})

    def tell(self, run: LabelStudioRun) -> None:
        if self.stderr.isatty():
            of = f" of {run.total:,}" if run.total else ""
            left = f", {run.seconds_left} s left" if run.seconds_left is not None else ""
            self.stderr.write(f"\r\x1b[K{run.done:,}{of}{left}", ending="")

    def conclude(self, run: LabelStudioRun) -> None:
        if self.stderr.isatty():
            self.stderr.write("\r\x1b[K", ending="")
        if run.state == LabelStudioState.FAILED:
            raise CommandError(run.error)
        counted = [f"{what.capitalize()}: {n:,}" for n, what in run.came_to]
        self.stdout.write(("; ".join(counted) or "Nothing to do") + ".")
        if run.way == Way.PULL:
            self.list_conflicts(run.project)

    def list_conflicts(self, project: Project) -> None:
        differ = LabelStudioAnnotation.objects.filter(task__link__project=project, outcome=Outcome.CONFLICT)
        for one in differ.select_related("person", "task__disagreement__post")[:LISTED]:
            post = one.task.disagreement.post.external_id if one.task.disagreement else "a deleted post"
            self.stdout.write(f"{post}: {one.person} says {one.said}, here it is {one.here}")
