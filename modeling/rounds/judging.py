"""What a round is judged by, read from the tables."""

from annotate.models import Disagreement, Project
from modeling.measures.comparison import Difference
from modeling.models import Comparison, Goal, JobState, PreLabelling, Round, RunState
from modeling.prelabelling import audited

from . import guards
from .guards import Judgement


def last_kept(one: Round) -> Round | None:
    earlier = one.project.rounds.kept().filter(number__lt=one.number)
    return earlier.select_related("dataset").first()


def to_beat(project: Project, before: int | None = None) -> Round | None:
    """The best that was kept and can still be asked. Were each held against the last alone, round after round could be
    a little worse, each within luck. Only figures on the posts that the last was measured on are laid side by side:
    on others a model may look better for nothing but easier posts."""
    done = project.rounds.kept().filter(run__state=RunState.DONE).select_related("run", "project", "evaluation")
    earlier = done if before is None else done.filter(number__lt=before)
    kept = list(earlier.defer("evaluation__measured", "evaluation__used"))
    if not kept:
        return None
    last = max(kept, key=lambda one: one.number)
    posts = last.evaluation.test_hash if last.evaluation else ""
    measured = project.evaluations.done().filter(test_hash=posts, run__in=[one.run_id for one in kept])
    found = measured.order_by("pk").values_list("run", "measured__figures__macro_f1__value") if posts else ()
    figures: dict[int | None, float] = {run: figure for run, figure in found if figure is not None}
    return max(
        (one for one in kept if one.run_id in figures), key=lambda one: (figures[one.run_id], one.number), default=last
    )


def of_holdout(one: Round) -> Judgement:
    """What the rule for a worse model says, or that it has nothing to go by."""
    if one.rival_id is None:
        return Judgement("keep", "There is no earlier round to compare it with.")
    found = difference(one)
    return guards.on_holdout(found) if found else Judgement("wait", "It was not compared with the best round yet.")


def difference(one: Round) -> guards.Difference | None:
    """None where nothing was compared."""
    if not one.evaluation or not one.rival:
        return None
    for first, second in ((one.evaluation, one.rival), (one.rival, one.evaluation)):
        found = Comparison.objects.filter(first=first, second=second).first()
        if found:
            told = Difference.from_json(found.told)
            figure = (told if first == one.evaluation else told.turned()).macro_f1
            return guards.Difference(figure.value, figure.low, figure.high)
    return None


def is_compared(one: Round) -> bool:
    """Whether what both models were measured on is the same, once both are."""
    if not one.evaluation or not one.rival or not (one.evaluation.measured and one.rival.measured):
        return True
    return difference(one) is not None


def of_audits(one: Round, made: PreLabelling, found: audited.Audits, allowed: float) -> Judgement | None:
    """What the rule for wrong labels says; none where none was ever drawn."""
    told = in_short(found)
    settled = sum(made.result.get("settled", {}).values())
    return guards.by_audit(told, allowed, one.enough, settled) if told else None


def in_short(found: audited.Audits) -> guards.Audited | None:
    if found.estimate is None:
        return guards.Audited(0.0, 0.0, 1.0, 0, found.waiting) if found.waiting else None
    estimate = found.estimate
    return guards.Audited(estimate.rate, estimate.low, estimate.high, estimate.audits, found.waiting)


def learnt_in_vain(one: Round) -> PreLabelling | None:
    """Whose labels are in its dataset, and were taken back since."""
    if one.dataset is None:
        return None
    given = one.project.prelabellings.filter(goal=Goal.TAKE_BACK, applied__lte=one.dataset.created)
    return given.exclude(state=JobState.DONE, taken_back__lte=one.dataset.created).first()


def doubts_open(made: PreLabelling) -> int:
    doubted = made.labels.filter(label=None, taken_back=False).values("post")
    return Disagreement.objects.filter(post__in=doubted, closed=None).count()
