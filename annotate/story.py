"""A post's whole story, in the order it happened, as far as its reader may know it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from .blindness import Reader, knows_label, told_disagreements, told_reviews
from .models import Disagreement, ImportRun, Label, LabelSource, Post, Review, State, Vote
from .models.review import BROUGHT_ALONG, Instead, Why


@dataclass(frozen=True, slots=True)
class Chapter:
    at: datetime
    title: str
    detail: str = ""
    votes: list[Vote] = field(default_factory=list)
    review: Review | None = None
    run: ImportRun | None = None


# How the chapter is called in which a post came to people, and what it says.
OPENED = {
    Why.AUDIT: ("Audited", "Drawn by lot from what machines settled."),
    Why.RISK: ("Looked at again", "It was among the settled posts most likely to be wrong."),
    Why.DOUBT: ("Looked at again", "A model that had not seen its label would have given another."),
    Why.CHECK: ("Slipped in as a check", "Its label is known, and reviewers are compared with it."),
}


def story_of(post: Post, reader: Reader) -> list[Chapter]:
    settled = [*settled_by_votes(post), *settled_by_model(post)]
    chapters = [imported(post, reader), *voted(post), *settled, *people(post, reader)]
    return sorted(chapters, key=lambda chapter: chapter.at)


def imported(post: Post, reader: Reader) -> Chapter:
    known = ""
    if post.label and post.label_source == LabelSource.IMPORT and knows_label(reader, post):
        known = f"Its label, {post.label.name}, was known."
    if post.holdout:
        known += " It belongs to the locked test set: never trained on, never shown as an example."
    return Chapter(post.created, "Imported", known.strip(), run=post.import_run)


def voted(post: Post) -> list[Chapter]:
    """Votes that came in together are told together."""
    votes = list(post.votes.select_related("voter", "label").order_by("created", "voter__name"))
    moments = dict.fromkeys(vote.created for vote in votes)
    return [Chapter(at, "Voted on", votes=[v for v in votes if v.created == at]) for at in moments]


def settled_by_votes(post: Post) -> list[Chapter]:
    """Where it was never contested. What was contested first tells itself how that ended."""
    waited = list(Disagreement.objects.filter(~BROUGHT_ALONG, post=post).select_related("was_label"))
    label = post.label if post.label_source == LabelSource.CONSENSUS else settled_before(waited)
    if not label or any(disagreement.why not in OPENED for disagreement in waited):
        return []
    last = post.votes.order_by("-created").values_list("created", flat=True).first()
    return [Chapter(last or post.created, "Settled", f"The voters agree on {label.name}.")]


def settled_by_model(post: Post) -> list[Chapter]:
    """What a tuned model of ours settled was never a matter of agreement."""
    waited = Disagreement.objects.filter(post=post, was_source=LabelSource.MODEL).select_related("was_label")
    labels = [post.label] if post.label_source == LabelSource.MODEL else [one.was_label for one in waited[:1]]
    told = post.votes.filter(voter__heard=False, label__in=[label for label in labels if label])
    return [
        Chapter(vote.created, "Settled", f"{vote.voter} was sure of {vote.label}.")
        for vote in told.select_related("voter", "label").order_by("-created")[:1]
    ]


def settled_before(waited: list[Disagreement]) -> Label | None:
    """What stood when people looked at it again."""
    return next((one.was_label for one in waited if one.was_source == LabelSource.CONSENSUS), None)


def people(post: Post, reader: Reader) -> Iterator[Chapter]:
    """In the order that holds where several things happened in one moment."""
    waited = Disagreement.objects.filter(told_disagreements(reader), post=post).select_related("label", "was_label")
    told = Review.objects.filter(told_reviews(reader), disagreement__in=waited).select_related("reviewer", "label")
    answers = list(told.order_by("pk"))
    for disagreement in waited:
        if disagreement.was_brought:
            yield from brought_along(disagreement, answers)
            continue
        title, detail = OPENED.get(Why(disagreement.why), ("Contested", f"{disagreement.get_why_display()}."))
        yield Chapter(disagreement.opened, title, detail)
        for answer in answers:
            if answer.disagreement_id == disagreement.pk:
                yield Chapter(answer.at, answer_title(answer), review=answer)
        yield from ended(disagreement, post)


def brought_along(disagreement: Disagreement, answers: Iterable[Review]) -> Iterator[Chapter]:
    """Asked and answered before the post came to us: why it was asked there is told beside what was said."""
    asked = f"It came with an import. Why it was asked there: {disagreement.get_why_display().lower()}."
    for answer in answers:
        if answer.disagreement_id == disagreement.pk:
            yield Chapter(answer.at, f"{answer_title(answer)}, elsewhere", asked, review=answer)


def answer_title(answer: Review) -> str:
    who = answer.reviewer.get_full_name() or answer.reviewer.get_username()
    if answer.instead == Instead.SKIP:
        return f"{who} skipped it"
    return f"{who} decided, as a lead" if answer.final else f"{who} answered"


# How a post ended that waited for people and was decided by nobody, by where its label is from.
AFTER_ALL = {
    LabelSource.CONSENSUS: ("Settled after all", "The voters agree by now."),
    LabelSource.MODEL: ("Settled after all", "A tuned model is sure of it."),
    LabelSource.NONE: ("No longer asked", "What had sent it to people was taken back."),
}


def ended(disagreement: Disagreement, post: Post) -> Iterator[Chapter]:
    at = disagreement.closed
    if at and disagreement.instead:
        yield Chapter(at, "Set aside by people", f"{disagreement.get_instead_display()}.")
    elif at and disagreement.was_state:
        yield Chapter(at, "Settled by people", compared(disagreement.label, disagreement.was_label))
    elif at and disagreement.why not in OPENED:
        yield Chapter(at, *AFTER_ALL.get(LabelSource(post.label_source), AFTER_ALL[LabelSource.CONSENSUS]))


def compared(label: Label | None, was: Label | None) -> str:
    if not label or not was:
        return f"{label}." if label else ""
    return f"{label}, as it was." if label == was else f"{label}, and not {was} as it was."


def flag_of(post: Post) -> str:
    """Why people set a post aside, in words; blank where they did not."""
    if post.state != State.ASIDE:
        return ""
    flagged = Disagreement.objects.filter(post=post).exclude(instead="").order_by("-closed").first()
    return str(flagged.get_instead_display()) if flagged else ""
