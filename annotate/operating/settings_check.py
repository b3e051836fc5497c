"""What a site of several processes or machines must be told, and what would not work: said at the start, in sentences,
and not by every page afterwards."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.http.request import validate_host

SHORTEST_KEY = 32
HERE = ("localhost", "127.0.0.1", "::1")
A_KEY = "python -c 'import secrets; print(secrets.token_urlsafe(64))'"


@dataclass(frozen=True, slots=True)
class Given:
    """As whoever runs the site wrote it: blank where nothing was written."""

    database_url: str = ""
    secret_key: str = ""
    site_url: str = ""
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: int = 0
    trusted_origins: tuple[str, ...] = ()


def shared_problems(given: Given) -> Iterator[str]:
    """Of every process that shares a site with others."""
    if not given.database_url:
        yield (
            "DATABASE_URL is not set: the web server and the workers meet in one PostgreSQL, so name it "
            "(postgresql://user:password@host:5432/name). `manage.py up` brings its own."
        )
    if not given.secret_key:
        yield (
            "SECRET_KEY is not set: each machine would make one of its own, and none could read the others' logins "
            f"and tasks. Make one for all of them: {A_KEY}"
        )
    elif len(given.secret_key) < SHORTEST_KEY:
        yield f"SECRET_KEY has {len(given.secret_key)} characters, and signs all logins. Make a long one: {A_KEY}"


def web_problems(given: Given) -> Iterator[str]:
    """Each would make every page, or every link that is sent, useless."""
    host = urlsplit(given.site_url).hostname or ""
    if not given.site_url:
        yield "SITE_URL is not set: invitations and login links are made of it, as https://votes.example.org."
        return
    if not host or not given.site_url.startswith(("https://", "http://")):
        yield f"SITE_URL is {given.site_url}: write it as https://votes.example.org."
        return
    if not validate_host(host, given.allowed_hosts):
        yield (
            f"ALLOWED_HOSTS does not hold {host}, the host of SITE_URL: every page would be refused. "
            f"Set ALLOWED_HOSTS={host}"
        )
    yield from disbelieved_proxy(given)


def disbelieved_proxy(given: Given) -> Iterator[str]:
    """Nobody but a proxy does the TLS, whoever starts the site."""
    if given.site_url.startswith("https://") and not given.trusted_proxies:
        yield (
            "SITE_URL begins with https, and TRUSTED_PROXIES is 0: the proxy that does the TLS would not be believed, "
            "and every page would redirect to itself. Set TRUSTED_PROXIES=1 where one proxy stands before this server."
        )


def web_warnings(given: Given) -> Iterator[str]:
    host = urlsplit(given.site_url).hostname or ""
    if given.site_url.startswith("http://") and host not in HERE:
        yield f"SITE_URL is {given.site_url}, without TLS: passwords and posts can be read by whoever is on the way."
    if "*" in given.allowed_hosts:
        yield "ALLOWED_HOSTS holds *: links may be made to lead elsewhere. Name the site's own hosts."
    yield from shared_address(given)


def shared_address(given: Given) -> Iterator[str]:
    """The pages come all the same, so that nobody would find out."""
    behind = [origin for origin in given.trusted_origins if origin.startswith("https://")]
    if behind and not given.trusted_proxies and not given.site_url.startswith("https://"):
        yield (
            f"CSRF_TRUSTED_ORIGINS holds {behind[0]}, and TRUSTED_PROXIES is 0: everybody behind the proxy that does "
            "the TLS counts as one address, and one who mistypes a password or sends slowly uses up the limits of all. "
            "Set TRUSTED_PROXIES=1 where one proxy stands before this server."
        )
