"""Once before a site of several processes starts, and once for each new version."""

from typing import Any

from django.core.management.base import BaseCommand

from annotate.models import User
from annotate.operating import given
from annotate.operating.preparing import prepare


class Command(BaseCommand):
    help = "Bring the database up to this version, for the site's web servers and workers to find it so."

    def handle(self, *args: Any, **options: Any) -> None:
        given.may_work()
        prepare(self.stdout.write)
        self.stdout.write("The database is prepared.")
        if not User.objects.exists():
            self.stdout.write("Nobody can log in yet: `manage.py createsuperuser` makes a site admin.")
