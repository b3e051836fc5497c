"""People who review, each a process of its own; whoever is killed sits down again and sends what was not answered.

    python -m tests.faults.reviewers FOLDER PROJECT LEASE_SECONDS PERSON ...

Each keeps a journal in FOLDER, as a browser keeps the answers that it has not heard of yet.
"""

import os
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.faults.journal import Journal

PATIENCE = 15  # times in a row that there is nothing to do
SKIPS, FLAGS, UNDOES, ERRS = 0.03, 0.03, 0.12, 0.15
WAY_BACK = 0.004  # seconds for which something is stored, and whoever sent it does not know


def main(folder: str, project: str, lease: str, *people: str) -> None:
    import django

    django.setup()
    from annotate import queue

    queue.LEASE = timedelta(seconds=float(lease))
    dice = random.Random(int(project))
    at_work = {sit_down(lambda who=who: review(Path(folder), int(project), int(who))): who for who in people}
    while at_work:
        pid, status = os.wait()
        who = at_work.pop(pid)
        if os.WIFSIGNALED(status):
            time.sleep(dice.uniform(0, 0.1))
            at_work[sit_down(lambda who=who: review(Path(folder), int(project), int(who)))] = who
        elif os.WEXITSTATUS(status):
            sys.exit(f"{who} fell over; see above")


def sit_down(work: Callable[[], None]) -> int:
    """Forked before anything is connected, so that each has a connection of its own."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def review(folder: Path, project: int, person: int) -> None:
    from django.db import InterfaceError, OperationalError, connection

    os.environ["PGAPPNAME"] = name_of(person)  # so that it is this person's connection that is cut
    journal = Journal(folder / str(person))
    journal.write(sat=os.getpid())
    dice = random.Random()
    turns = turns_of(project, person, journal, dice)
    idle = 0
    while idle < PATIENCE:
        try:
            idle = 0 if next(turns) else idle + 1
        except (OperationalError, InterfaceError) as error:
            journal.write(cut=str(error)[:80])
            connection.close()
            turns = turns_of(project, person, journal, dice)
        time.sleep(0.1 if idle else thinking(dice))


def name_of(person: int) -> str:
    return f"reviewer {person}"


def thinking(dice: random.Random) -> float:
    """Now and then for longer than the lease: somebody else has taken the post by then."""
    return dice.uniform(0.6, 0.9) if dice.random() < 0.01 else dice.uniform(0, 0.02)


def turns_of(project: int, person: int, journal: Journal, dice: random.Random) -> Iterator[bool]:
    """True where something was done."""
    from annotate import deciding, queue
    from annotate.models import Project, User

    within, user = Project.objects.get(pk=project), User.objects.get(pk=person)
    role = user.role_in(within)
    assert role
    seat = queue.Seat(within, user, role, "one")
    labels = list(within.labels.values_list("pk", flat=True))
    while True:
        if unheard := journal.unheard():
            yield send(seat, journal, **unheard)
        elif (taken_back := journal.not_taken_back()) is not None:
            yield take_back(seat, journal, taken_back)
        elif mine := queue.fill(seat, queue.held(seat)):
            time.sleep(thinking(dice))
            given = deciding.Given(**answer(dice, labels, mine[0]))
            key = uuid.uuid4().hex
            journal.write(ask=key, pk=mine[0], said=[given.label, given.instead])
            yield send(seat, journal, key, mine[0], [given.label, given.instead])
            if dice.random() < UNDOES:
                journal.write(undo=mine[0])
        else:
            yield False


def answer(dice: random.Random, labels: list[int], pk: int) -> dict[str, Any]:
    """Most say the same of a post; some err."""
    chance = dice.random()
    if chance < SKIPS:
        return {"instead": "skip"}
    if chance < SKIPS + FLAGS:
        return {"instead": "cannot_tell"}
    return {"label": dice.choice(labels) if dice.random() < ERRS else labels[pk % len(labels)]}


def send(seat: Any, journal: Journal, key: str, pk: int, said: list[Any]) -> bool:
    from annotate import deciding, queue

    try:
        deciding.decide(seat, pk, deciding.Given(label=said[0], instead=said[1]), key)
        time.sleep(random.uniform(0, WAY_BACK))
        journal.write(kept=key)
    except queue.Gone as refused:
        journal.write(refused=key, why=str(refused))
    return True


def take_back(seat: Any, journal: Journal, pk: int) -> bool:
    from annotate import deciding, queue

    try:
        review = deciding.undo(seat, pk).review
        time.sleep(random.uniform(0, WAY_BACK))
        journal.write(undone=pk, review=review.pk)
    except queue.Gone as refused:
        journal.write(undone=pk, why=str(refused))
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
