"""The review screen as a page of plain forms, which works by itself. Its script goes faster: see review_steps."""

import re
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from annotate import deciding, prose, queue
from annotate.access import me, requires
from annotate.card import Card, cards, last_decision
from annotate.forms.review import (
    INSTEAD,
    LONGEST_NOTE,
    REASONS,
    NotAnAnswer,
    read_answer,
    read_key,
    read_post,
    read_tab,
)
from annotate.keys import ACTIONS, DIGITS, Keys, keys_for, wanted_keys
from annotate.models import Label, Project, Role
from annotate.models.project import VotesShown
from annotate.models.review import FLAGS, Instead
from annotate.pace import today
from annotate.queue import Gone, Seat

COOKIE = "review_tab"  # by which a tab that is loaded again says which one it is
NAME_OF_A_TAB = re.compile(r"[A-Za-z0-9-]{1,36}")
STEPS = ("decide", "undo", "votes", "renew", "release", "fill")
NOT_HELD = "Your answer is taken back. Somebody else has the post now."


def seat_of(request: HttpRequest, project: Project, tab: str) -> Seat:
    return Seat(project, me(request), request.role, tab)  # type: ignore[attr-defined]


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.REVIEWER)
def review(request: HttpRequest, project: Project) -> HttpResponse:
    if request.method == "POST":
        return answered(request, project)
    named = request.COOKIES.get(COOKIE, "")
    return page(request, seat_of(request, project, named if NAME_OF_A_TAB.fullmatch(named) else ""))


def answered(request: HttpRequest, project: Project) -> HttpResponse:
    """What was typed is never lost: a refused answer stays on the page, and so does a note beside the votes."""
    sent = request.POST.dict()
    seat = seat_of(request, project, "")
    try:
        seat = seat_of(request, project, read_tab(sent))
        if sent.get("do") == "votes":
            reveal(seat, read_post(sent))
            return page(request, seat, draft=sent)
        act(request, seat, sent)
    except NotAnAnswer as fault:
        return page(request, seat, 422, draft=sent, fault=str(fault))
    except Gone as gone:
        refused = {"sentence": str(gone), "said": said_in(sent, project), "note": sent.get("note", "")}
        return page(request, seat, 409, refused=refused)
    return redirect("review", project.slug)


def act(request: HttpRequest, seat: Seat, sent: dict[str, str]) -> None:
    match sent.get("do"):
        case "undo":
            if not deciding.take_back(seat, read_key({"key": sent.get("undo")})).held:
                messages.info(request, NOT_HELD)
        case "take_up":
            queue.take_up_skipped(seat)
        case _:
            deciding.decide(seat, *read_answer(sent, seat.project))


def reveal(seat: Seat, pk: int) -> None:
    """On record first."""
    if seat.project.votes_shown == VotesShown.AFTER:
        raise NotAnAnswer("In this project the votes are shown after the choice.")
    queue.show_votes(seat, pk)


def said_in(sent: dict[str, str], project: Project) -> str:
    """What a refused form would have said."""
    if (instead := sent.get("instead")) in INSTEAD:
        return Instead(instead).label.lower()
    return next((label.name for label in project.labels.all() if str(label.pk) == sent.get("label")), "")


def page(request: HttpRequest, seat: Seat, status: int = 200, **context: Any) -> HttpResponse:
    labels = list(seat.project.labels.all())
    keys = keys_for(seat.user.review_keys, [(label.pk, label.key) for label in labels])
    card = at_hand(seat) if labels else None
    state = {
        "card": card,
        "last": last_decision(seat),
        "tab": seat.tab,
        "left": queue.waiting_for(seat.project, seat.role, exactly=card is None),
        "today": today(seat),
        "skipped": queue.skipped_by(seat),
        "many": len(labels) > DIGITS,
        "votes_after": seat.project.votes_shown == VotesShown.AFTER,
    }
    words = {
        "project": seat.project,
        "key": uuid4().hex,
        "labels": [(label, keys.labels[label.pk]) for label in candidates_first(labels, card)],
        "keys": keys.actions,
        "flags": [(flag.value, flag.label) for flag in FLAGS],
        "reasons": REASONS,
        "longest_note": LONGEST_NOTE,
        "guidelines": prose.render(seat.project.guidelines),
        "actions": told_actions(seat, labels, keys),
        "data": state | for_the_script(seat, labels, keys),
    }
    return render(request, "annotate/review.html", state | words | context, status=status)


def at_hand(seat: Seat) -> Card | None:
    """The post that is on the screen already, or else the next one."""
    held = queue.renew(seat, queue.held(seat)) or queue.fill(seat, size=1)
    return next(iter(cards(seat, held[:1], former=True)), None)


def candidates_first(labels: list[Label], card: Card | None) -> list[Label]:
    """Where there are many labels and the votes are on the screen anyway."""
    if len(labels) <= DIGITS or not card or not card["votes"]:
        return labels
    named = {vote["label"] for vote in card["votes"]}
    return sorted(labels, key=lambda label: label.pk not in named)


def told_actions(seat: Seat, labels: list[Label], keys: Keys) -> list[dict[str, str]]:
    """For the list of keys: what each does, and which label took whose."""
    names, wanted = {label.pk: label.name for label in labels}, wanted_keys(seat.user.review_keys)
    taken = {action: names[pk] for action, pk in keys.lost.items()}
    left_out = set() if seat.project.asks_incongruous else {"incongruous"}
    left_out |= set() if len(labels) > DIGITS else {"find"}
    return [
        {"key": keys.actions[action], "does": does, "lost": wanted[action], "to": taken.get(action, "")}
        for action, (_, does) in ACTIONS.items()
        if action not in left_out
    ]


def for_the_script(seat: Seat, labels: list[Label], keys: Keys) -> dict[str, Any]:
    project = seat.project
    return {
        "user": seat.user.pk,
        "slug": project.slug,
        "keys": keys.actions,
        "labels": [{"pk": label.pk, "name": label.name, "key": keys.labels[label.pk]} for label in labels],
        "lease": queue.LEASE.total_seconds(),
        "cookies": {"tab": COOKIE, "csrf": settings.CSRF_COOKIE_NAME},
        "login": reverse("login"),
        "urls": {step: reverse(f"review_{step}", args=[project.slug]) for step in STEPS},
    }
