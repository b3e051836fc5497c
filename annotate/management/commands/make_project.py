from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from annotate.models import User
from annotate.project_presets import make_project


class Command(BaseCommand):
    help = "Make a project, from a preset or from a question alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--preset", help="the name of a file in annotate/presets, such as crypto-sentiment")
        parser.add_argument("--question", default="", help="what is asked about each post (default: the preset's)")
        parser.add_argument("--slug", default="", help="its name in addresses (default: made from NAME)")
        parser.add_argument("--admin", metavar="USERNAME", help="who becomes its admin")

    def handle(self, **options: Any) -> None:
        if not options["preset"] and not options["question"]:
            raise CommandError("A project needs a question: give --question, or a --preset that brings one.")
        try:
            project = make_project(
                options["preset"], options["name"], admin(options["admin"]),
                question=options["question"], slug=options["slug"],
            )  # fmt: skip
        except ValidationError as error:
            raise CommandError(in_one_line(error)) from error
        self.stdout.write(f"Made {project.name}: {settings.SITE_URL}{project.get_absolute_url()}")


def admin(username: str | None) -> User | None:
    if not username:
        return None
    user = User.objects.filter(username=username).first()
    if user is None:
        raise CommandError(f"There is no user “{username}”. `manage.py createsuperuser` makes the first one.")
    return user


def in_one_line(error: ValidationError) -> str:
    return " ".join(f"--{field}: {' '.join(messages)}" for field, messages in error.message_dict.items())
