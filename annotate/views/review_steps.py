"""What the review screen's script asks for, one round trip for each decision."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from annotate import deciding, queue
from annotate.access import requires
from annotate.card import cards, in_words, last_decision, votes_afterwards, votes_on
from annotate.forms.review import NotAnAnswer, number, read_answer, read_holding, read_key, read_post, read_tab
from annotate.models import Disagreement, Project, Role
from annotate.pace import today
from annotate.queue import Gone, Seat
from annotate.views.review import NOT_HELD, reveal, seat_of

Sent = dict[str, Any]
Step = Callable[[Seat, Sent], Sent]


def step(take: Step) -> Callable[..., HttpResponseBase]:
    """JSON in and out. A refusal is a sentence: 409 where the post has gone, 422 where what came makes no sense."""

    @never_cache
    @require_POST
    @requires(Role.REVIEWER)
    @wraps(take)
    def answer(request: HttpRequest, project: Project) -> HttpResponse:
        try:
            sent = read_body(request)
            seat = seat_of(request, project, read_tab(sent))
            if sent.get("user") not in (None, seat.user.pk):
                return JsonResponse(
                    {"error": f"You are logged in as {seat.user} by now.", "user": seat.user.pk}, status=403
                )
            answered = take(seat, sent)
            return JsonResponse(answered, status=409 if "gone" in answered else 200)
        except NotAnAnswer as fault:
            return JsonResponse({"error": str(fault)}, status=422)
        except Gone as gone:
            return JsonResponse({"gone": str(gone)}, status=409)

    return answer


def read_body(request: HttpRequest) -> Sent:
    try:
        sent = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise NotAnAnswer("What came is no JSON.") from error
    if not isinstance(sent, dict):
        raise NotAnAnswer("What came is no JSON object.")
    return sent


@step
def decide(seat: Seat, sent: Sent) -> Sent:
    there = read_holding(sent)
    pk, given, key = read_answer(sent, seat.project)
    try:
        review = deciding.decide(seat, pk, given, key)
    except Gone as gone:
        return {"gone": str(gone)} | replenished(seat, there)
    return {"votes": votes_afterwards(seat, review)} | replenished(seat, there)


def replenished(seat: Seat, there: list[int]) -> Sent:
    """Whatever the screen lacks of what the tab holds: also what an answer brought that never arrived.

    Not how many are left: that number would tell an answer that closes a post from one that does not.
    """
    held = queue.fill(seat, queue.held(seat))
    return {"held": held, "cards": cards(seat, [pk for pk in held if pk not in there])}


@step
def fill(seat: Seat, sent: Sent) -> Sent:
    """On opening the page, and whenever it has nothing to show."""
    there = read_holding(sent)
    if seat.tab:
        queue.move_in(seat)
    held = queue.fill(seat, queue.renew(seat, list(dict.fromkeys([*there, *queue.held(seat)]))))
    return {
        "held": held,
        "cards": cards(seat, [pk for pk in held if pk not in there], former=True),
        "last": last_decision(seat),
        "skipped": queue.skipped_by(seat),
        **progress(seat, exactly=not held),
    }


@step
def renew(seat: Seat, sent: Sent) -> Sent:
    return {"held": queue.renew(seat, read_holding(sent)), **progress(seat)}


def progress(seat: Seat, exactly: bool = False) -> Sent:
    return {"left": queue.waiting_for(seat.project, seat.role, exactly), "today": today(seat)}


@step
def undo(seat: Seat, sent: Sent) -> Sent:
    taken = deciding.take_back(seat, read_key(sent))
    pk = taken.review.disagreement_id
    return {
        "card": next(iter(cards(seat, [pk], former=True)), None) if taken.held else None,
        "sentence": f"Taken back. You said {in_words(taken.review)}." if taken.held else NOT_HELD,
        "last": last_decision(seat),
        **progress(seat),
    }


@step
def votes(seat: Seat, sent: Sent) -> Sent:
    pk = read_post(sent)
    reveal(seat, pk)
    post = Disagreement.objects.values_list("post", flat=True).get(pk=pk)
    return {"votes": votes_on(seat, {pk: post})[pk]}


@never_cache
@require_POST
@requires(Role.REVIEWER)
def release(request: HttpRequest, project: Project) -> HttpResponse:
    """By a beacon, which carries a form and reads no answer."""
    try:
        pks = [number(pk) for pk in request.POST.get("pks", "").split(",")[:50] if pk]
        queue.step_out(seat_of(request, project, read_tab(request.POST.dict())), [pk for pk in pks if pk is not None])
    except NotAnAnswer as fault:
        return HttpResponse(str(fault), status=422)
    return HttpResponse(status=204)
