"""Which project there is ours, what lies in it, and who its people are here."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from annotate.keys import label_keys
from annotate.models import (
    Disagreement,
    LabelStudioPerson,
    LabelStudioProject,
    LabelStudioTask,
    Project,
    User,
    Vote,
)
from annotate.models.project import VotesShown
from annotate.models.review import Stream
from annotate.settling import lot

from . import server as servers
from .server import Failed, Server, Task
from .tasks import config


# --- The project there
def current(project: Project) -> LabelStudioProject | None:
    return project.label_studio_projects.filter(left=None).first()


def there(project: Project, server: Server) -> LabelStudioProject:
    """Ours, looked for at this very moment; made where there is none yet."""
    link = current(project)
    if link is None:
        return make(project, server)
    return seen(link, server)


def seen(link: LabelStudioProject, server: Server) -> LabelStudioProject:
    if link.address != servers.address():
        raise Failed(
            f"These posts were pushed to {link.address}, and LABEL_STUDIO_URL names {servers.address()} now. "
            "Set it back, or begin a new project there."
        )
    server.see_project(link.number)
    return link


def make(project: Project, server: Server) -> LabelStudioProject:
    before = project.label_studio_projects.filter(address=servers.address()).values_list("number", flat=True)
    page = labelling_page(project, "")
    title, description = title_of(project), f"Contested posts of {settings.SITE_URL}/p/{project.slug}/"
    number = server.find_project(title, description, list(before)) or server.make_project(title, description, page)
    # With the page it got: where it was found, that may be an older one, so it is sent again.
    return LabelStudioProject.objects.create(project=project, address=servers.address(), number=number)


def title_of(project: Project) -> str:
    """Label Studio wants three characters at least."""
    return project.name if len(project.name) >= 3 else f"Casting Vote: {project.name}"


def leave(project: Project) -> bool:
    """The next push begins a new project. What lies in this one is pulled no more."""
    return bool(project.label_studio_projects.filter(left=None).update(left=timezone.now()))


def keep_page(link: LabelStudioProject, server: Server) -> None:
    """Labels and question may have changed here since the last push."""
    page = labelling_page(link.project, link.config)
    if page != link.config:
        server.set_config(link.number, page)
        link.config = page
        link.save(update_fields=["config"])


def labelling_page(project: Project, before: str) -> str:
    labels = list(project.labels.all())
    keys = label_keys([(label.pk, label.key) for label in labels])
    shown = [(label.name, label.colour, keys[label.pk]) for label in labels]
    pictures = "<Image" in before or contested(project).filter(post__image__isnull=False).exists()
    return config(project.question, shown, project.asks_incongruous, pictures)


# --- What lies there
def contested(project: Project) -> QuerySet[Disagreement]:
    """Nothing else ever leaves: an audit, a risky post or a known answer must not be told from these, or by these."""
    return Disagreement.objects.filter(project=project, closed=None, stream=Stream.CONTESTED)


def note(link: LabelStudioProject, tasks: Iterable[Task]) -> None:
    """Tasks of ours that are there without our knowing, because we were killed between sending and writing down."""
    marks = {task.mark: task.number for task in tasks if task.mark is not None}
    known = set(link.tasks.filter(number__in=marks.values()).values_list("number", flat=True))
    lost = {mark: number for mark, number in marks.items() if number not in known}
    if not lost:
        return
    ours = Disagreement.objects.filter(project=link.project_id, pk__in=lost).values_list("pk", "post")
    saw = voters_beside(link.project, dict(ours))
    LabelStudioTask.objects.bulk_create(
        [LabelStudioTask(link=link, number=lost[pk], disagreement_id=pk, saw=saw.get(pk, [])) for pk, _ in ours],
        ignore_conflicts=True,
    )


def voters_beside(project: Project, posts: Mapping[int, int]) -> dict[int, list[int]]:
    """By disagreement, whose votes go along, in an order that differs from post to post."""
    if project.votes_shown == VotesShown.AFTER:
        return {}
    found: dict[int, list[int]] = {}
    for post, voter in Vote.objects.filter(post__in=posts.values()).values_list("post", "voter"):
        found.setdefault(post, []).append(voter)
    return {pk: in_order(project, pk, found.get(post, [])) for pk, post in posts.items()}


def in_order(project: Project, pk: int, voters: Sequence[int]) -> list[int]:
    return sorted(voters, key=lambda voter: lot(f"elsewhere {voter}", project.pk, pk))


# --- Its people
def meet(project: Project, server: Server) -> dict[int, LabelStudioPerson]:
    """Everybody there, by their number there."""
    known = {person.number: person for person in people(project)}
    for one in server.people():
        fields = {"email": one.email[:254], "name": one.name[:200]}
        person = known.get(one.number)
        if person is None:
            known[one.number] = LabelStudioPerson.objects.create(
                project=project, address=servers.address(), number=one.number, **fields
            )
        elif (person.email, person.name) != (fields["email"], fields["name"]):
            person.email, person.name = fields["email"], fields["name"]
            person.save(update_fields=["email", "name"])
    return known


def people(project: Project) -> QuerySet[LabelStudioPerson]:
    return project.label_studio_people.filter(address=servers.address()).select_related("user")


def candidates(project: Project) -> QuerySet[User]:
    """Who somebody there may be here."""
    seats = Q(pk__in=project.memberships.values("user")) | Q(is_superuser=True)
    return User.objects.filter(seats, is_active=True).order_by("username")


def suggested(person: LabelStudioPerson, among: Collection[User]) -> User | None:
    """The one with the same e-mail address. Only suggested: anybody may have written anything into theirs."""
    same = [user for user in among if user.email and user.email.casefold() == person.email.casefold()]
    return same[0] if len(same) == 1 else None


@transaction.atomic
def say_who(project: Project, chosen: Mapping[int, int | None]) -> int:
    """By person there: the user here, or nobody. How many that changed."""
    allowed = set(candidates(project).values_list("pk", flat=True))
    changed = 0
    for person in people(project).filter(pk__in=chosen):
        user = chosen[person.pk]
        if user != person.user_id and (user is None or user in allowed):
            person.user_id = user
            person.save(update_fields=["user"])
            changed += 1
    return changed
