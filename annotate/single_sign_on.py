"""People who come in by single sign-on (OpenID Connect): the way to the issuer and back, and whom we take them for.

django-allauth keeps the way (state, PKCE, the exchange of the code) and the table of who is who. It is given none of
its own pages: who may come in is decided here. Somebody is known by issuer and subject, never by a name or an address
that they, or somebody else, could change.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import compare_digest, token_urlsafe
from typing import Any

import jwt
import requests
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.http import HttpRequest
from django.urls import reverse

from . import team
from .models import Event, Invitation, Role, User
from .operating.sign_on_settings import known_as

SIGNED_BY = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LEEWAY = 60  # seconds by which the issuer's clock may differ from ours
PATIENCE = 10  # seconds
LONGEST_NAME = 140
BEGIN_AGAIN = "This attempt is over: it took too long, was used already, or began in another browser. Begin again."


class TurnedAway(Exception):
    """The words are for whoever knocked."""


# --- The way there and back


class Way(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """To one issuer, and back to an address of ours."""

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        return request.build_absolute_uri(reverse("sign_on_back"))

    @property
    def basic_auth(self) -> bool:
        """As the standard has it where the issuer says nothing."""
        return "client_secret_post" not in self.openid_config.get("token_endpoint_auth_methods_supported", [])

    @property
    def openid_config(self) -> dict[str, Any]:
        told: dict[str, Any] = super().openid_config
        if str(told.get("issuer", "")).rstrip("/") != settings.OIDC_ISSUER.rstrip("/"):
            raise OAuth2Error("It calls itself by another name than OIDC_ISSUER.")
        return told


def provider_for(request: HttpRequest) -> OpenIDConnectProvider:
    provider = get_adapter(request).get_provider(request, known_as(settings.OIDC_ISSUER))
    provider.oauth2_adapter_class = Way
    return provider


@contextmanager
def reached() -> Iterator[None]:
    """Whatever is wrong on the issuer's side is told in one sentence, and never in theirs."""
    try:
        yield
    except (requests.RequestException, jwt.PyJWKClientConnectionError) as error:
        raise TurnedAway(f"{settings.OIDC_NAME} cannot be reached just now. Try again in a moment.") from error
    except (OAuth2Error, jwt.PyJWTError, LookupError, TypeError, ValueError) as error:
        raise TurnedAway(
            f"{settings.OIDC_NAME} answered what cannot be accepted ({type(error).__name__}). Begin again; if it stays "
            "so, tell whoever runs this site."
        ) from error


@dataclass(frozen=True)
class Asked:
    """What somebody was about when they went there; kept in their session meanwhile."""

    onward: str = ""
    invitation: str = ""  # the digest of its secret
    connects: int | None = None  # who is logged in, and wants to come in this way from now on


def way_there(request: HttpRequest, asked: Asked) -> str:
    nonce = token_urlsafe(24)
    with reached():
        response = provider_for(request).redirect(
            request, process="login", data={"nonce": nonce, "asked": vars(asked)}, auth_params={"nonce": nonce}
        )
        return str(response.url)


def way_back(request: HttpRequest) -> tuple[dict[str, Any], Asked]:
    """What the issuer says of whoever comes, held against what we asked."""
    provider = provider_for(request)
    try:
        state = provider.unstash_redirect_state(request, request.GET.get("state", ""))
    except PermissionDenied as error:
        raise TurnedAway(BEGIN_AGAIN) from error
    if request.GET.get("error") == "access_denied":
        raise TurnedAway(f"{settings.OIDC_NAME} did not let you in, or you turned back there.")
    way = Way(request, known_as(settings.OIDC_ISSUER))
    with reached():
        client = way.get_client(request, provider.app)
        tokens = client.get_access_token(request.GET["code"], pkce_code_verifier=state["pkce_code_verifier"])
        told = believed(tokens["id_token"], way.openid_config, state["data"]["nonce"])
        if "email" not in told or (settings.OIDC_ADMIN_GROUP and settings.OIDC_GROUPS_CLAIM not in told):
            told = more_of(told, way, tokens["access_token"]) | told
    return told, Asked(**state["data"]["asked"])


def believed(token: str, config: Mapping[str, Any], nonce: str) -> dict[str, Any]:
    """Signed by the issuer, for us, now, and in answer to this very question."""
    key = key_of(token, jwt.PyJWKClient(config["jwks_uri"], timeout=PATIENCE))
    told: dict[str, Any] = jwt.decode(
        token, key, algorithms=SIGNED_BY, audience=settings.OIDC_CLIENT_ID, issuer=config["issuer"], leeway=LEEWAY,
        options={"require": ["exp", "iat", "iss", "aud", "sub"]},
    )  # fmt: skip
    if not compare_digest(str(told.get("nonce", "")).encode(), nonce.encode()):
        raise jwt.InvalidTokenError("It answers another question.")
    if told.get("azp", settings.OIDC_CLIENT_ID) != settings.OIDC_CLIENT_ID:
        raise jwt.InvalidTokenError("It was made for somebody else.")
    return told


def key_of(token: str, known: jwt.PyJWKClient) -> jwt.PyJWK:
    """An issuer with a single key need not name it."""
    if "kid" not in jwt.get_unverified_header(token) and len(keys := known.get_signing_keys()) == 1:
        return keys[0]
    return known.get_signing_key_from_jwt(token)


def more_of(told: Mapping[str, Any], way: Way, token: str) -> dict[str, Any]:
    """Some issuers tell no address in the token, and are asked for it; of the same person, or it is not believed."""
    if "userinfo_endpoint" not in way.openid_config:
        return {}
    with get_adapter().get_requests_session() as session:
        response = session.get(way.profile_url, headers={"Authorization": f"Bearer {token}"})
        response.raise_for_status()
        more: dict[str, Any] = response.json()
    if more.get("sub") != told["sub"]:
        raise jwt.InvalidTokenError("It tells of somebody else.")
    return more


# --- Whom we take them for


@dataclass(frozen=True)
class Claims:
    subject: str
    email: str = ""
    is_verified: bool = False
    username: str = ""
    first_name: str = ""
    last_name: str = ""
    is_admin: bool = False

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Claims":
        def word(name: str) -> str:
            value = told.get(name)
            return value.replace("\0", "").strip() if isinstance(value, str) else ""

        first, _, last = word("name").partition(" ")
        groups = told.get(settings.OIDC_GROUPS_CLAIM)
        return cls(
            subject=str(told["sub"])[:191],
            email=word("email")[:254],
            is_verified=told.get("email_verified") in (True, "true"),
            username=word("preferred_username") or word("email").partition("@")[0],
            first_name=(word("given_name") or first)[:LONGEST_NAME],
            last_name=(word("family_name") or last)[:LONGEST_NAME],
            is_admin=bool(settings.OIDC_ADMIN_GROUP)
            and settings.OIDC_ADMIN_GROUP in (groups if isinstance(groups, list) else [groups]),
        )


@transaction.atomic
def received(told: Mapping[str, Any], asked: Asked, by: User | None) -> User:
    """Who is logged in from now on, in the project of the invitation too."""
    claims = Claims.of(told)
    with connection.cursor() as cursor:  # of two browsers that come for the first time at once, one makes the account
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"subject {claims.subject}"])
    heed_address(claims)
    link = SocialAccount.objects.filter(provider=known_as(settings.OIDC_ISSUER), uid=claims.subject).first()
    if asked.connects is not None:
        return connected(claims, link, asked.connects, by)
    invitation = Invitation.objects.open().filter(digest=asked.invitation).first() if asked.invitation else None
    if asked.invitation and invitation is None:
        raise TurnedAway("This invitation was used, withdrawn, or is too old. Ask for another.")
    user = link.user if link else user_by_email(claims) or newcomer(claims, invitation)
    if not user.is_active:
        raise TurnedAway("Your account here is switched off.")
    if link is None:
        link = linked(claims, user)
    join(user, invitation)
    follow_group(claims, link, user)
    return user


def heed_address(claims: Claims) -> None:
    if not claims.email or not claims.is_verified:
        raise TurnedAway(f"{settings.OIDC_NAME} does not say that your e-mail address is verified, so it is not taken.")
    domain = claims.email.rpartition("@")[2].lower()
    if settings.OIDC_DOMAINS and domain not in settings.OIDC_DOMAINS:
        raise TurnedAway(f"Addresses at {domain} are not let in here. Use the account of your organisation.")


def connected(claims: Claims, link: SocialAccount | None, pk: int, by: User | None) -> User:
    """Who asked for it must be who comes back."""
    if by is None or by.pk != pk:
        raise TurnedAway(BEGIN_AGAIN)
    if link and link.user_id != by.pk:
        raise TurnedAway(f"That account of {settings.OIDC_NAME} belongs to somebody else here already.")
    if link is None:
        linked(claims, by)
    return by


def user_by_email(claims: Claims) -> User | None:
    """Only where the site says so, and of one person alone who has not come in this way as somebody else before."""
    if not settings.OIDC_LINK_BY_EMAIL:
        return None
    found = User.objects.filter(email__iexact=claims.email)[:2]
    if len(found) != 1 or SocialAccount.objects.filter(user=found[0], provider=known_as(settings.OIDC_ISSUER)).exists():
        return None
    return found[0]


def newcomer(claims: Claims, invitation: Invitation | None) -> User:
    if invitation is None and not settings.OIDC_SIGNUP:
        raise TurnedAway(
            "Nobody here is known by that account. Ask an admin of your project for an invitation; if you have a "
            f"password here, log in with it and connect {settings.OIDC_NAME} on your account page."
        )
    user = User(
        username=free_name(claims.username), email=claims.email, first_name=claims.first_name,
        last_name=claims.last_name,
    )  # fmt: skip
    user.set_unusable_password()
    user.save()
    return user


def free_name(wanted: str) -> str:
    """A name that is taken belongs to somebody else, whoever they are."""
    name = re.sub(r"[^\w.@+-]+", "-", wanted).strip("-")[:LONGEST_NAME] or "person"
    number, free = 1, name
    while User.objects.filter(username__iexact=free).exists():
        number += 1
        free = f"{name}-{number}"
    return free


def linked(claims: Claims, user: User) -> SocialAccount:
    link = SocialAccount.objects.create(user=user, provider=known_as(settings.OIDC_ISSUER), uid=claims.subject)
    Event.record("single sign-on connected", user=user, to=settings.OIDC_NAME)
    return link


def join(user: User, invitation: Invitation | None) -> None:
    """One that would change nothing is left for whom it was meant."""
    held = user.role_in(invitation.project) if invitation else None
    if invitation and (held is None or not held.covers(Role(invitation.role))):
        team.join(invitation, lambda: user)


def follow_group(claims: Claims, link: SocialAccount, user: User) -> None:
    """What the group gave, leaving the group takes away; a site admin who was made one here stays one."""
    if not settings.OIDC_ADMIN_GROUP:
        return
    by_group = bool(link.extra_data.get("admin"))
    if claims.is_admin and not user.is_superuser:
        set_admin(link, user, True)
    elif by_group and not claims.is_admin:
        set_admin(link, user, False)


def set_admin(link: SocialAccount, user: User, is_admin: bool) -> None:
    user.is_superuser = user.is_staff = is_admin
    user.save(update_fields=["is_superuser", "is_staff"])
    link.extra_data = {"admin": is_admin}
    link.save(update_fields=["extra_data"])
    verb = "site admin by group" if is_admin else "site admin no more"
    Event.record(verb, user=user, group=settings.OIDC_ADMIN_GROUP)


def is_connected(user: User) -> bool:
    return bool(SocialAccount.objects.filter(user=user, provider=known_as(settings.OIDC_ISSUER)).exists())
