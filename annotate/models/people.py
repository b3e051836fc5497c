import hashlib
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models, transaction
from django.utils import timezone

if TYPE_CHECKING:
    from .project import Project


class Role(models.TextChoices):
    REVIEWER = "reviewer", "Reviewer"
    LEAD = "lead", "Lead"
    ADMIN = "admin", "Admin"

    def covers(self, asked: "Role") -> bool:
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(asked)


class User(AbstractUser):
    """`is_superuser` is the site admin: in every project, and in Django's admin."""

    # What this person's keys do on the review screen, where they are not the usual ones: {"undo": "z"}.
    review_keys = models.JSONField(default=dict, blank=True, editable=False)

    def role_in(self, project: "Project") -> Role | None:
        if self.is_superuser:
            return Role.ADMIN
        role = Membership.objects.filter(project=project, user=self).values_list("role", flat=True).first()
        return Role(role) if role else None


class Membership(models.Model):
    project = models.ForeignKey("Project", on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role, default=Role.REVIEWER)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="one_membership_per_project_and_user"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} in {self.project}"


def digest(secret: str) -> str:
    """Secrets are long and random, so a fast hash keeps them: what leaks from the database opens nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def open(self) -> Self:
        return self.filter(used_at=None, expires__gt=timezone.now())

    def by_secret(self, secret: str) -> "Invitation | None":
        """Used and expired ones too: whoever holds the link is told what became of it."""
        return self.filter(digest=digest(secret)).select_related("project", "created_by").first()


class NotOpen(Exception):
    """The invitation was used, withdrawn or left to expire."""


class Invitation(models.Model):
    project = models.ForeignKey("Project", on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=16, choices=Role, default=Role.REVIEWER)
    note = models.CharField(max_length=200, blank=True)
    digest = models.CharField(max_length=64, unique=True)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="invitations_made")
    expires = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="invitations_used")

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return f"{self.role} in {self.project}"

    @classmethod
    def issue(cls, project: "Project", role: Role, by: User, note: str = "") -> tuple["Invitation", str]:
        """The secret is returned once and never stored."""
        secret = secrets.token_urlsafe(24)
        expires = timezone.now() + timedelta(days=settings.INVITATION_DAYS)
        made = cls.objects.create(
            project=project, role=role, note=note, digest=digest(secret), created_by=by, expires=expires
        )
        return made, secret

    @property
    def is_open(self) -> bool:
        return self.used_at is None and self.expires > timezone.now()

    def claim(self) -> None:
        """Of two people with one link, the row changes for one."""
        now = timezone.now()
        if not Invitation.objects.open().filter(pk=self.pk).update(used_at=now):
            raise NotOpen
        self.used_at = now

    @transaction.atomic
    def accept(self, arrive: Callable[[], User]) -> User:
        """Taken before the account is made, so that whoever comes too late leaves nothing behind."""
        self.claim()
        self.used_by = arrive()
        self.save(update_fields=["used_by"])
        self.seat(self.used_by)
        return self.used_by

    def seat(self, user: User) -> None:
        """Whoever already holds a higher role keeps it."""
        membership, made = Membership.objects.get_or_create(
            project=self.project, user=user, defaults={"role": self.role}
        )
        if not made and not Role(membership.role).covers(Role(self.role)):
            membership.role = self.role
            membership.save(update_fields=["role"])


class ApiToken(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=60)
    digest = models.CharField(max_length=64, unique=True)
    created = models.DateTimeField(auto_now_add=True)
    last_used = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def issue(cls, user: User, name: str) -> tuple["ApiToken", str]:
        """The secret is returned once and never stored."""
        secret = "cv_" + secrets.token_urlsafe(32)
        return cls.objects.create(user=user, name=name, digest=digest(secret)), secret
