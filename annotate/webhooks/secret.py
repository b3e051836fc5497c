"""A webhook's secret, which is kept nowhere: it follows from a seed in the database and from the site's own key."""

import secrets

from django.utils.crypto import constant_time_compare, salted_hmac

from annotate.models import Webhook
from annotate.models.people import digest

from .signing import secret_from


class AnotherKey(Exception):
    """The site's SECRET_KEY is not the one that the secret was made with."""


def new_seed() -> str:
    return secrets.token_urlsafe(24)


def secret_of(seed: str) -> str:
    return secret_from(salted_hmac("webhook", seed, algorithm="sha256").digest())


def valid_secrets(webhook: Webhook) -> list[str]:
    """The newest first."""
    newest = secret_of(webhook.seed)
    if not constant_time_compare(digest(newest), webhook.digest):
        raise AnotherKey("The site’s SECRET_KEY has changed, and this webhook’s secret with it: give it a new one.")
    return [newest, *([secret_of(webhook.old_seed)] if webhook.has_old_secret else [])]
