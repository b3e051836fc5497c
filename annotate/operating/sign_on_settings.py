"""What the settings of single sign-on come to: pure, because they are read before there is any Django."""

from hashlib import sha256
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

# Before our own apps: what they bring to the site administration is taken out of it again by annotate/admin.py.
APPS = ["allauth.account", "allauth.socialaccount", "allauth.socialaccount.providers.openid_connect"]
MIDDLEWARE = ["allauth.account.middleware.AccountMiddleware"]
HERE = {"localhost", "127.0.0.1", "::1"}


def problem(issuer: str, client_id: str, password_login: bool) -> str:
    """A sentence, where the site must not start like this; else blank."""
    if not issuer:
        return "" if password_login else "PASSWORD_LOGIN is off and OIDC_ISSUER is not set, so nobody could log in."
    if not find_spec("allauth") or not find_spec("jwt"):
        return "OIDC_ISSUER is set, and what single sign-on needs is not installed: pip install -e '.[sso]'"
    if not client_id:
        return "OIDC_ISSUER is set and OIDC_CLIENT_ID is not: the server that OIDC_ISSUER names gives one to this site."
    split = urlsplit(issuer)
    if split.scheme != "https" and not (split.scheme == "http" and split.hostname in HERE):
        return "OIDC_ISSUER must be an address that begins with https://"
    return ""


def known_as(issuer: str) -> str:
    """What people's subjects are kept under. Another issuer gives the same subject to somebody else."""
    return f"oidc-{sha256(issuer.rstrip('/').encode()).hexdigest()[:16]}"


def providers(issuer: str, client_id: str, secret: str, name: str, scope: list[str]) -> dict[str, Any]:
    return {
        "openid_connect": {
            "APPS": [
                {
                    "provider_id": known_as(issuer),
                    "name": name,
                    "client_id": client_id,
                    "secret": secret,
                    "settings": {
                        "server_url": f"{issuer.rstrip('/')}/.well-known/openid-configuration",
                        "oauth_pkce_enabled": True,
                        "scope": scope,
                    },
                }
            ]
        }
    }
