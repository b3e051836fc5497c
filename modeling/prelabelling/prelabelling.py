"""Ask a model, settle what it is sure of, take that back. The page, the command and the API all end up here; never in a
request."""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from annotate.browse import Filters, matching
from annotate.heartbeat import heartbeat
from annotate.models import Event, LabelSource, Project, User, Voter
from modeling.cascade import asking as cascading
from modeling.cascade.stages import Lacking
from modeling.gpu.ask import Ask
from modeling.models import RESUMES, Cascade, Goal, JobQuerySet, JobState, PreLabelling, Run, RunState
from modeling.training import results, run_folder

from . import applying, asking, candidates, feeding, thresholds

FILTERS = [field.name for field in fields(Filters) if field.name != "order"]
USUAL = {"state": "waiting"}  # posts that nobody has said anything of that settles them
RELATED = ("project", "run__dataset__project", "cascade__dataset__project", "voter__project", "by")
MAY_RESUME = (JobState.STOPPED, JobState.INTERRUPTED, JobState.FAILED)
PROVIDER = "model"  # of the voter: nobody asks it but this room
Progress = Callable[[PreLabelling], None]
VERBS = {Goal.ASK: "pre-labelling", Goal.APPLY: "settling by a model", Goal.TAKE_BACK: "taking back of model labels"}


class Refused(Exception):
    """It cannot be done so; the words are for whoever asked."""


class Lost(Exception):
    """Another worker has taken it over while we were silent, or somebody asked it to stop."""


# --- Asked for


def ask(
    project: Project, by: User | None, run: Run, posts: Mapping[str, str] | None = None, bits: int = 0,
    batch: int = 16, queue: bool = True, cascade: Cascade | None = None, **how: Any,
) -> PreLabelling:  # fmt: skip
    """Whoever does it by command carries it out there and then, and queues nothing. Of a cascade, `run` is its second
    stage."""
    filters = chosen(USUAL if posts is None else posts)
    check(project, run, filters, bits, batch)
    check_cascade(cascade, run)
    with transaction.atomic():
        prelabelling = PreLabelling.objects.create(
            project=project, run=run, cascade=cascade, voter=voter_of(run, bits, cascade), by=by,
            posts=filters.narrowing, bits=bits, batch=batch, **checked(how),
        )  # fmt: skip
        record("asked for", prelabelling, by)
        if queue:
            enqueue(prelabelling)
    return prelabelling


def chosen(posts: Mapping[str, str]) -> Filters:
    """A filter that is passed over asks about more posts than anybody meant, and what is sure of them is settled."""
    if unknown := sorted(posts.keys() - FILTERS):
        raise Refused(f"Posts cannot be chosen by {' or '.join(unknown)}; there are {', '.join(FILTERS)}.")
    filters = Filters.from_query(posts)
    taken = filters.narrowing
    if lost := [name for name, value in posts.items() if value and taken.get(name) != value.strip()]:
        raise Refused(
            f"“{lost[0]}” cannot be taken as it stands: a value has from 1 to 200 signs, none of them NUL, and said, "
            "other_said and cause go with voter, other and failed."
        )
    if posts and not taken:
        raise Refused("These filters are blank and choose nothing; for all posts, give none.")
    return filters


def check(project: Project, run: Run, filters: Filters, bits: int, batch: int) -> None:
    if run.project_id != project.pk:
        raise Refused(f"{run} is of another project.")
    if run.state != RunState.DONE:
        raise Refused(f"{run} is not done: there is nothing to ask yet.")
    if run.study_id:
        raise Refused(f"{run} is a part of a study, and has not learnt from all posts. Train one on the whole dataset.")
    if filters.holdout or filters.source == LabelSource.MODEL:
        raise Refused("A model is not asked about the locked test set, nor about what models have settled.")
    if mend := matching(project, filters).mend:
        raise Refused(" ".join(mend))
    try:
        Ask(adapter="as trained", bits=bits, batch=batch)
    except ValueError as problem:
        raise Refused(str(problem)) from problem


def check_cascade(cascade: Cascade | None, run: Run) -> None:
    if cascade is None:
        return
    if cascade.second_id != run.pk:
        raise Refused(f"The second stage of {cascade} is another run.")
    try:
        cascading.usable(cascade)
        cascading.voter_of(cascade)
    except Lacking as lack:
        raise Refused(str(lack)) from lack


def checked(how: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in how.items() if value is not None}
    if not thresholds.LEAST <= told.get("threshold", 0.9) <= 1:
        raise Refused(f"The threshold is a chance from {thresholds.LEAST:g} to 1: below that a label is a guess.")
    if not (told.get("growth", 1.5) == 0 or 1 <= told.get("growth", 1.5) <= 100):
        raise Refused("A label's share may grow to so many times what it was, from 1 to 100; 0 for any.")
    if not 0 <= told.get("audit_rate", 0.1) <= 1:
        raise Refused("The share of labels that people check blind is from 0 to 1.")
    if not 0 <= told.get("most_doubts", 200) <= 100_000:
        raise Refused("From 0 to 100,000 doubts can be sent to people.")
    return told


def voter_of(run: Run, bits: int, cascade: Cascade | None = None) -> Voter:
    """The model as a voter: the same one whenever it is asked, and never heard by consensus."""
    parameters: dict[str, object] = {"run": run.pk, **({"bits": bits} if bits else {})}
    if cascade:  # at another point, or fitted anew, it is another voter
        parameters |= cascading.parameters_of(cascade)
    named = f"{cascade} at {cascade.threshold:g}"[:100] if cascade and cascade.threshold is not None else str(run)
    model = str(run.config["model"])[:120]
    voter, _ = Voter.objects.get_or_create(
        project=run.project, fingerprint=Voter.fingerprint_of(PROVIDER, model, parameters, ""),
        defaults={
            "name": free_name(run.project, f"{named}{f', {bits} bits' if bits else ''}"), "provider": PROVIDER,
            "model": model, "parameters": parameters, "required": False, "heard": False,
        },
    )  # fmt: skip
    return voter


def free_name(project: Project, name: str) -> str:
    """A column of an import may be called the same."""
    taken = set(project.voters.filter(name__startswith=name).values_list("name", flat=True))
    numbered = (f"{name} ({n})" for n in range(2, len(taken) + 3))
    return next(one for one in (name, *numbered) if one not in taken)


def apply(
    prelabelling: PreLabelling, by: User | None, threshold: float | None = None, queue: bool = True, **how: Any
) -> bool:
    """On somebody's word, who has seen what the threshold means. False where there is nothing to settle, or no more."""
    told = checked({"threshold": threshold} | how)
    asked = PreLabelling.objects.filter(goal=Goal.ASK, state=JobState.DONE)
    return begin(asked, prelabelling, Goal.APPLY, by, queue, **told)


def take_back(prelabelling: PreLabelling, by: User | None, queue: bool = True) -> bool:
    """Whether it was settled to the end, or is being settled now."""
    return begin(PreLabelling.objects.filter(goal=Goal.APPLY), prelabelling, Goal.TAKE_BACK, by, queue)


def give_up(prelabelling: PreLabelling, by: User | None, queue: bool = True) -> bool:
    """At whatever it is: what it has settled goes back, and it settles nothing any more."""
    here = PreLabelling.objects.exclude(goal=Goal.TAKE_BACK)
    return begin(here, prelabelling, Goal.TAKE_BACK, by, queue)


def begin(
    ready: JobQuerySet[PreLabelling], prelabelling: PreLabelling, goal: Goal, by: User | None, queue: bool, **told: Any
) -> bool:
    """A worker that is at it finds out before it changes anything more: the row is not its own any longer."""
    this = ready.filter(pk=prelabelling.pk)
    with transaction.atomic():
        changed = this.update(
            goal=goal, state=JobState.QUEUED, error="", ended=None, interruptions=0, stop_asked=False, done=0,
            total=0, started=None, **told,
        )  # fmt: skip
        if changed:
            prelabelling.refresh_from_db()
            record("asked for", prelabelling, by)
            if queue:
                enqueue(prelabelling)
    return bool(changed)


def record(what: str, prelabelling: PreLabelling, by: User | None, **more: Any) -> None:
    verb = f"{VERBS[Goal(prelabelling.goal)]} {what}"[:40]
    Event.record(
        verb, user=by, project=prelabelling.project, prelabelling=prelabelling.pk, run=prelabelling.run_id, **more
    )


def enqueue(prelabelling: PreLabelling) -> None:
    """What needs no model does not wait for a card."""
    where = {"cluster": "gpu"} if prelabelling.goal == Goal.ASK else {}
    async_task("modeling.tasks.prelabel", prelabelling.pk, task_name=f"prelabel {prelabelling.pk}", **where)


def stop(prelabelling: PreLabelling, by: User | None = None) -> bool:
    """What was answered or settled stays so; one that nobody works on is settled here."""
    idle = PreLabelling.objects.claimable().filter(pk=prelabelling.pk)
    at_work = PreLabelling.objects.filter(pk=prelabelling.pk, state=JobState.RUNNING, stop_asked=False)
    asked = idle.update(state=JobState.STOPPED, ended=timezone.now()) or at_work.update(stop_asked=True)
    if asked:
        record("stopped", prelabelling, by)
    return bool(asked)


def resume(prelabelling: PreLabelling, by: User | None = None) -> bool:
    """From where it stopped: the model is asked nothing twice, and nothing is settled twice."""
    over = PreLabelling.objects.filter(pk=prelabelling.pk, state__in=MAY_RESUME)
    with transaction.atomic():
        changed = over.update(
            state=JobState.QUEUED, error="", ended=None, interruptions=0, stop_asked=False
        )  # fmt: skip
        if changed:
            enqueue(prelabelling)
            record("resumed", prelabelling, by)
    return bool(changed)


def take_up() -> None:
    """What a dead worker left goes on by itself, a few times; but not what it had been asked to stop."""
    left = PreLabelling.objects.claimable().filter(state=JobState.RUNNING)
    for prelabelling in left.select_related("project", "run", "by"):
        if prelabelling.stop_asked:
            end(prelabelling, JobState.STOPPED)
        elif prelabelling.interruptions >= RESUMES:
            end(prelabelling, JobState.INTERRUPTED, "Its worker died again and again. Look at the log.")
        else:
            enqueue(prelabelling)


# --- Carried out


def carry_out(prelabelling: PreLabelling, progress: Progress = lambda _: None) -> bool:
    """False where somebody else has it."""
    if not prelabelling.claim():
        return False
    try:
        state, error = carried_out(prelabelling, progress)
    except Lost:
        if not still_ours(prelabelling).filter(stop_asked=True).exists():
            return True
        state, error = JobState.STOPPED, ""
    except (results.NoResult, run_folder.NotSeen, Lacking) as refusal:
        state, error = JobState.FAILED, str(refusal)
    except OSError as failure:
        state = JobState.FAILED
        error = f"The disk did not play along: {failure.strerror or failure}. Then resume it."
    except BaseException:
        logging.getLogger(__name__).exception("Pre-labelling %s broke off.", prelabelling.pk)
        end(prelabelling, JobState.INTERRUPTED, "It broke off. What was done stands: resume it.")
        raise
    end(prelabelling, state, error)
    return True


def carried_out(prelabelling: PreLabelling, progress: Progress) -> tuple[JobState, str]:
    def beat() -> None:
        heard(prelabelling)
        progress(prelabelling)
        if prelabelling.stop_asked and prelabelling.goal != Goal.ASK:  # the model's process is asked to stop itself
            raise Lost

    with heartbeat(lambda: still_ours(prelabelling), f"Pre-labelling {prelabelling.pk}"):
        if prelabelling.goal == Goal.APPLY:
            applying.apply(prelabelling, beat, lambda: hold(prelabelling))
        elif prelabelling.goal == Goal.TAKE_BACK:
            applying.take_back(prelabelling, beat)
        else:
            kind, error = asked(prelabelling, beat)
            return JobState(kind), error
    return JobState.DONE, ""


def asked(prelabelling: PreLabelling, beat: Callable[[], None]) -> tuple[str, str]:
    prelabelling.doing = "counting the posts"
    beat()
    about = candidates.asked(prelabelling)
    prelabelling.total = about.count()
    prelabelling.done = about.filter(votes__voter=prelabelling.voter_id).count()
    prelabelling.doing = "starting the model"
    beat()
    kind, error = asking.ask(prelabelling, beat)
    if kind == "done":
        prelabelling.doing = "counting what it is sure of"
        beat()
        prelabelling.meaning = candidates.count(prelabelling)
    return kind, error


def hold(prelabelling: PreLabelling) -> None:
    """Inside a transaction: nobody takes it back until that is over."""
    if not still_ours(prelabelling).select_for_update().exists():
        raise Lost


def still_ours(prelabelling: PreLabelling) -> JobQuerySet[PreLabelling]:
    """No row of it once another worker has claimed it."""
    return PreLabelling.objects.filter(pk=prelabelling.pk, state=JobState.RUNNING, started=prelabelling.started)


TOLD = ("doing", "done", "total", "used", "temperature", "result")
AT_LAST = ("validation", "meaning")  # larger, and of no use before


def heard(prelabelling: PreLabelling) -> None:
    said = {name: getattr(prelabelling, name) for name in TOLD}
    if not still_ours(prelabelling).update(heartbeat=Now(), **said):
        raise Lost
    prelabelling.refresh_from_db(fields=["stop_asked"])


def end(prelabelling: PreLabelling, state: JobState, error: str = "") -> None:
    """Only while it is still ours."""
    done = {Goal.APPLY: "applied", Goal.TAKE_BACK: "taken_back"}.get(Goal(prelabelling.goal))
    at = {done: timezone.now()} if done and state == JobState.DONE else {}
    told = {name: getattr(prelabelling, name) for name in (*TOLD, *AT_LAST)} | {"doing": ""}
    with transaction.atomic():
        changed = still_ours(prelabelling).update(state=state, error=error, ended=timezone.now(), **told, **at)
        if changed and state != JobState.STOPPED:  # for that whoever asked is on record
            record(state.label.lower(), prelabelling, prelabelling.by, **counted(prelabelling))
    folder = feeding.folder_of(prelabelling)
    if changed and state == JobState.DONE:
        shutil.rmtree(folder, ignore_errors=True)
    elif changed:
        run_folder.forget(folder)  # its log stays
    prelabelling.refresh_from_db()


def counted(prelabelling: PreLabelling) -> dict[str, int]:
    if prelabelling.goal == Goal.APPLY:
        return {"settled": sum(prelabelling.result.get("settled", {}).values())}
    return {"posts": prelabelling.done}
