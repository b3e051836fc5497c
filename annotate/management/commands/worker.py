"""One queue alone, for a machine that works: `short` for imports, votes and freezing, `gpu` for training and asking."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.operating import given, preparing, processes

QUEUES = ("short", "gpu")


class Command(BaseCommand):
    help = "Work off one of the site's queues. Needs DATABASE_URL and SECRET_KEY, and the pictures."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", nargs="?", choices=QUEUES, default="short")

    def handle(self, *args: Any, queue: str, **options: Any) -> None:
        given.may_work()
        if not preparing.is_prepared():
            raise CommandError(preparing.NOT_YET)
        self.stdout.write(f"Working off the {queue} queue.")
        processes.become(processes.queue(), Q_CLUSTER_NAME=queue)
