"""Who is in a project: how people come, what they may do, how they go. Every change is in the event log."""

from collections.abc import Callable

from django.db import transaction

from .models import Event, Invitation, Membership, Project, Role, User


class LastAdmin(Exception):
    """The message says why the change is refused, and who could make it."""


@transaction.atomic
def invite(project: Project, role: Role, by: User, note: str = "") -> str:
    """The secret of the link, which nobody can read again."""
    invitation, secret = Invitation.issue(project, role, by, note)
    Event.record("invited", user=by, project=project, invitation=invitation.pk, role=role.label.lower(), note=note)
    return secret


@transaction.atomic
def withdraw(invitation: Invitation, by: User) -> None:
    invitation.delete()
    Event.record("invitation withdrawn", user=by, project=invitation.project, note=invitation.note)


@transaction.atomic
def join(invitation: Invitation, arrive: Callable[[], User]) -> User:
    user = invitation.accept(arrive)
    role = Role(invitation.role).label.lower()
    Event.record("joined", user=user, project=invitation.project, invitation=invitation.pk, role=role)
    return user


@transaction.atomic
def change_role(membership: Membership, role: Role, by: User) -> None:
    was = Role(membership.role)
    if role == was:
        return
    if role != Role.ADMIN:
        step_down(membership, by)
    Membership.objects.filter(pk=membership.pk).update(role=role)
    note("role changed", membership, by, role=f"{was.label.lower()} to {role.label.lower()}")


@transaction.atomic
def remove(membership: Membership, by: User) -> None:
    step_down(membership, by)
    note("removed", membership, by)
    membership.delete()


def step_down(membership: Membership, by: User) -> None:
    """Locked, so that the last two admins cannot remove each other at the same moment.

    Open invitations of an admin who steps down go too: one of them might be a way back in.
    """
    admins = membership.project.memberships.filter(role=Role.ADMIN, user__is_active=True).order_by("pk")
    left = {row.pk for row in admins.select_for_update(of=("self",))} - {membership.pk}
    if membership.role == Role.ADMIN and not left and not by.is_superuser:
        raise LastAdmin(
            f"{membership.user} is the last admin of {membership.project}. "
            "Make somebody else an admin first, or ask a site admin."
        )
    membership.project.invitations.open().filter(created_by=membership.user).delete()


def note(verb: str, membership: Membership, by: User, **data: str) -> None:
    Event.record(verb, user=by, project=membership.project, member=membership.user_id, who=str(membership.user), **data)
