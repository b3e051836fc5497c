"""The settings as they were written, told to the check: refused in one sentence, warned of in another."""

import os
from typing import Any

from django.conf import settings
from django.core.checks import Tags, Warning, register
from django.core.management.base import CommandError

from annotate import database
from annotate.first_start import Say

from .settings_check import Given, disbelieved_proxy, shared_address, shared_problems, web_problems, web_warnings


def given() -> Given:
    """What a default filled in counts as not written, where the default is only right for one machine."""
    return Given(
        database_url=settings.DATABASE_URL,
        secret_key=os.environ.get("SECRET_KEY", ""),
        site_url=settings.SITE_URL if os.environ.get("SITE_URL") else "",
        allowed_hosts=tuple(settings.ALLOWED_HOSTS),
        trusted_proxies=settings.TRUSTED_PROXIES,
        trusted_origins=tuple(settings.CSRF_TRUSTED_ORIGINS),
    )


def refuse(problems: list[str]) -> None:
    if problems:
        raise CommandError("\n".join(problems))


def may_work() -> None:
    refuse(list(shared_problems(given())))
    database.reach(settings.DATABASE_URL)


def may_serve(warn: Say) -> None:
    told = given()
    refuse([*shared_problems(told), *web_problems(told)])
    for sentence in web_warnings(told):
        warn(sentence)
    database.reach(settings.DATABASE_URL)


def may_be_up(warn: Say) -> None:
    """All in one place brings what it needs itself; but of a proxy before it nobody tells it."""
    told = given()
    refuse(list(disbelieved_proxy(told)))
    for sentence in shared_address(told):
        warn(sentence)


@register(Tags.security, deploy=True)
def as_web_would_say(app_configs: Any, **options: Any) -> list[Warning]:
    """`manage.py check --deploy` says it before anything is started."""
    told = given()
    return [Warning(sentence, id="annotate.W001") for sentence in (*web_problems(told), *web_warnings(told))]
