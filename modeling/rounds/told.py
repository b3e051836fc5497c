"""A round in sentences: what each step came to, what it waits for, how it ended."""

from collections.abc import Iterator

from django.conf import settings

from annotate.browse import Filters, matching
from annotate.models import Project
from modeling.models import Needs, Round
from modeling.models.round import OPEN
from modeling.prelabelling import prelabelling
from modeling.prelabelling import told as settled

from . import guards, judging

WAITS = {
    Needs.WORD: "It waits for a word: settle what its model is sure of, or not. On its page, or with --yes.",
    Needs.REVIEW: "It waits for people: doubts and audits are in the queue. Then run this again, or use --enough.",
    Needs.VERDICT: "A lead decides on its page whether it is kept.",
}


def lines(one: Round) -> Iterator[str]:
    yield f"{one}: {one.get_state_display().lower()}"
    if one.dataset and one.dataset.is_frozen:
        posts = one.dataset.composition["splits"]
        yield f"  frozen    {one.dataset}, {posts['train']['posts']:,} posts to train on"
    if one.run and one.run.ended:
        yield f"  trained   {one.run}, {one.run.get_state_display().lower()}"
    if one.evaluation and one.evaluation.measured:
        figure = one.evaluation.measured["figures"]["macro_f1"]
        yield f"  measured  macro F1 {figure['value']:.3f}{interval(figure)} on {one.evaluation.get_split_display()}"
        yield f"  compared  {judging.of_holdout(one).words}"
    made = one.prelabelling
    if made and made.meaning and not made.is_applied and not made.taken_back:
        yield "  asked     what it would settle:"
        yield from (f"            {line}".rstrip() for line in settled.meaning(made))
    elif made and made.result:
        yield from (f"  settled   {line}" for line in settled.result(made))
    if one.needs:
        yield f"  {WAITS[Needs(one.needs)]}"
        yield f"  {settings.SITE_URL}{one.get_absolute_url()}"
    if one.why:
        yield f"  {one.why}"
    if one.is_over:
        is_worth, words = another(one.project)
        yield "  Another round may be worth it." if is_worth else f"  {words}"


def interval(figure: dict[str, float | None]) -> str:
    low, high = figure.get("low"), figure.get("high")
    return "" if low is None or high is None else f" (95%: {low:.3f} to {high:.3f})"


def another(project: Project) -> tuple[bool, str]:
    """Whether one more round would be worth it, and if not, why."""
    latest = project.rounds.select_related("evaluation", "rival").exclude(state__in=OPEN)
    over = list(latest.defer("evaluation__measured", "rival__measured")[: guards.ROUNDS])[::-1]
    waiting = matching(project, Filters.from_query(prelabelling.USUAL)).posts.filter(holdout=False)
    return guards.worth([past(one) for one in over], int(waiting.exists()))


def past(one: Round) -> guards.Past:
    found = judging.difference(one)
    luck = found is None or found.low is None or found.high is None or found.low <= 0 <= found.high
    gain = found.value if found else None
    return guards.Past(one.state == "kept", gain, luck, int(one.told.get("settled") or 0))
