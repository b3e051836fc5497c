#!/usr/bin/env python
"""Starts the embedded database where needed, then Django."""

import os
import sys

# These never touch the database, so they must not wait for one to start.
WITHOUT_DATABASE = {"help", "--help", "version", "--version", "check", "collectstatic", "compilemessages"}
SHARE_ONE = {"prepare", "web", "worker"}  # a database with other processes: none is started for them, and they say so


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")
    try:
        from django.core.management import execute_from_command_line
        from environs import EnvError
    except ImportError as error:
        sys.exit(f"{error.name} is not installed in this Python. `make run` installs everything into .venv.")
    from annotate import database, offspring

    is_queue = "qcluster" in sys.argv[1:2]
    if is_queue:
        os.environ["DATABASE_POOL"] = "0"  # its workers are forked, and a pool does not survive that
    try:
        if len(sys.argv) > 1 and sys.argv[1] not in WITHOUT_DATABASE | SHARE_ONE:
            database.attach()
        if is_queue:
            offspring.forked_die_with_parent()  # after PostgreSQL, which outlives whoever started it
        execute_from_command_line(sys.argv)
    except (EnvError, database.WillNotStart) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped.")


if __name__ == "__main__":
    main()
