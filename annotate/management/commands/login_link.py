from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from annotate.login_links import login_link
from annotate.models import User


class Command(BaseCommand):
    help = "Print a link that logs somebody in once, within an hour."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", nargs="?", help="who (default: the first site admin)")

    def handle(self, **options: Any) -> None:
        user = somebody(options["username"])
        self.stderr.write(f"This link logs in {user} once, within an hour:")
        self.stdout.write(settings.SITE_URL + login_link(user))


def somebody(username: str | None) -> User:
    active = User.objects.filter(is_active=True).order_by("pk")
    found = (active.filter(username=username) if username else active.filter(is_superuser=True)).first()
    if found is None:
        nobody = f"There is no active user “{username}”." if username else "There is no site admin yet."
        raise CommandError(f"{nobody} `manage.py createsuperuser` makes a site admin.")
    return found
