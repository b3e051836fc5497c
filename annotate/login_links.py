"""Links that log somebody in once, made by whoever can run commands on the server: the first admin's way in, and
everybody's who forgot a password."""

from datetime import timedelta

from django.contrib import auth
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import base36_to_int

from .models import User

LIFE = timedelta(hours=1)
BACKEND = "django.contrib.auth.backends.ModelBackend"


class LoginTokens(PasswordResetTokenGenerator):
    key_salt = "annotate.login_links"

    def check_token(self, user: User | None, token: str | None) -> bool:
        return super().check_token(user, token) and self.age(token or "") <= LIFE

    def age(self, token: str) -> timedelta:
        return timedelta(seconds=self._num_seconds(self._now()) - base36_to_int(token.split("-")[0]))

    def _make_hash_value(self, user: User, timestamp: int) -> str:
        """To the microsecond: Django drops those, and a link would survive a login in the second of the one before."""
        return f"{user.pk} {user.password} {user.last_login} {timestamp}"


tokens = LoginTokens()


def login_link(user: User) -> str:
    return reverse("login_once", args=[user.pk, tokens.make_token(user)])


@transaction.atomic
def enter(request: HttpRequest, uid: str, token: str) -> User | None:
    """The row is locked: of two clicks on one link, the second finds it used."""
    rows = User.objects.select_for_update().filter(is_active=True)
    user = rows.filter(pk=int(uid)).first() if uid.isdecimal() and len(uid) < 19 else None
    if not tokens.check_token(user, token):
        return None
    auth.login(request, user, backend=BACKEND)
    return user
