"""The site alone, for a machine that serves pages; `worker` does the rest, here or elsewhere."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import static_files
from annotate.operating import given, preparing, processes


class Command(BaseCommand):
    help = "Serve the site, without its queues. Needs DATABASE_URL, SECRET_KEY, SITE_URL and ALLOWED_HOSTS."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--workers", type=int, default=settings.WEB_WORKERS)
        parser.add_argument("--threads", type=int, default=settings.WEB_THREADS)

    def handle(self, *args: Any, host: str, port: int, workers: int, threads: int, **options: Any) -> None:
        given.may_serve(self.stderr.write)
        if not preparing.is_prepared():
            raise CommandError(preparing.NOT_YET)
        static_files.collect()
        self.stdout.write(f"Serving {settings.SITE_URL} at {host}:{port}.")
        processes.become(processes.web_server(host, port, workers, threads))
