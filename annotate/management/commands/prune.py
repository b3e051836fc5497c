from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.template.defaultfilters import filesizeformat

from annotate.operating import pruning, upkeep

SHOWN = 10


class Command(BaseCommand):
    help = "Show what the rules for clean-up would remove, of this machine and of what all share; --yes removes it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="remove it")
        parser.add_argument("--all", action="store_true", help=f"show more than {SHOWN} of each rule")

    def handle(self, *args: Any, yes: bool, all: bool, **options: Any) -> None:
        found = pruning.look()
        for each in found:
            if not each.rule.days:
                self.stdout.write(f"{each.rule.title}: switched off.")
                continue
            told = f"{len(each.going):,}, {filesizeformat(each.bytes)}" if each.going else "nothing"
            self.stdout.write(f"{each.rule.title}, after {each.rule.days} days: {told}.")
            for one in each.going if all else each.going[:SHOWN]:
                self.stdout.write(f"    {one.what}" + (f", {filesizeformat(one.bytes)}" if one.bytes else ""))
            if not all and len(each.going) > SHOWN:
                self.stdout.write(f"    and {len(each.going) - SHOWN:,} more")
        if yes:
            things, freed = pruning.prune(found)
            upkeep.look_again()
            self.stdout.write(f"Removed: {things:,}, {filesizeformat(freed)}.")
        elif any(each.going for each in found):
            self.stdout.write("Nothing was removed: --yes removes it.")
