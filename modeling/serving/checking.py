"""Whether what was written out answers as the run did. The page, the command and the API all end up here.

Asked by its server, post by post, in the words that it was trained on; or the folder itself, as any model is evaluated.
Either is held against the run's own evaluation on the very same posts.
"""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django_q.tasks import async_task

from annotate import addresses
from annotate.heartbeat import heartbeat
from annotate.models import User
from modeling.chat import Chat
from modeling.datasets.items import items
from modeling.evaluation import asked as asked_room
from modeling.evaluation import evaluating, measuring
from modeling.evaluation.answers import label_names
from modeling.evaluation.predictors import Predictor
from modeling.export import pictures
from modeling.measures import calibration
from modeling.models import Evaluation, Form, JobState, On, Run, Sees, ServedCheck, Serving, Way

from . import at_work, likeness, writing
from .asking import Post, Said, Server, Silent
from .at_work import Lost, Refused, doing, heard, still_ours
from .likeness import After, Before

SPLITS = (On.HOLDOUT, On.TEST, On.VALIDATION)
LOOK_EVERY = 1.0  # seconds, at what another worker has
LONGEST_URL = 400
Progress = Callable[[ServedCheck], None]


# --- Asked for, stopped, resumed


def ask(
    serving: Serving, by: User | None, way: str, split: str, url: str = "", model: str = "", queue: bool = True
) -> ServedCheck:
    """Whoever checks by command carries it out there and then, and queues nothing."""
    against = evaluated(serving, split)
    if way == Way.SERVER and (problem := problem_with_address(by, url)):
        raise Refused(problem)
    if way == Way.FOLDER and serving.deleted:
        raise Refused("Its folder is deleted: there is nothing to ask. Write it out anew.")
    if serving.checks.filter(state__in=[JobState.QUEUED, JobState.RUNNING]).exists():
        raise Refused("It is being checked already.")
    with transaction.atomic():
        check = ServedCheck.objects.create(
            serving=serving, by=by, way=way, split=split, url=url, model=model or f"run-{serving.run_id}",
            against=against,
        )  # fmt: skip
        at_work.record("check of a served model asked for", check, serving, by)
        if queue:
            enqueue(check)
    return check


def evaluated(serving: Serving, split: str) -> Evaluation:
    """The run's own latest on these posts."""
    if serving.state != JobState.DONE:
        raise Refused(f"{serving} is not written out: there is nothing to check yet.")
    if split not in SPLITS:
        raise Refused("A model is checked on the locked test set, the test split or the validation split.")
    found = own_evaluation(serving.run, split)
    if found is None:
        first = command(serving.run, split)
        raise Refused(f"{serving.run} itself was not evaluated on these posts. Evaluate it first: {first}")
    return found


def own_evaluation(run: Run, split: str) -> Evaluation | None:
    there = own_evaluations(run).filter(split=split)
    return there.select_related("dataset", "project").order_by("-pk").first()


def own_evaluations(run: Run) -> QuerySet[Evaluation]:
    key = Evaluation.key_of(Predictor("run", run=run.pk).as_json(), Sees.BOTH)
    return Evaluation.objects.done().filter(run=run, key=key, project=run.project_id)


def evaluated_on(run: Run) -> list[str]:
    """The splits on which it was, in the order in which they are offered."""
    there = set(own_evaluations(run).values_list("split", flat=True))
    return [split.value for split in SPLITS if split in there]


def command(run: Run, split: str) -> str:
    return f"manage.py evaluate --project {run.project.slug} --predictor run-{run.pk} --on {split}"


def problem_with_address(by: User | None, url: str) -> str:
    """As for a voter's address; the command line may name any."""
    if not url.startswith(("http://", "https://")):
        return "The address of a server begins with http:// or https://, and ends with /v1, mostly."
    if len(url) > LONGEST_URL or "@" in url.partition("://")[2].partition("/")[0]:
        return "An address with a password in it would be seen by others; leave it out."
    if by is None or by.is_superuser:
        return ""
    return addresses.problem_with(url, settings.PROVIDER_BASE_URLS)


def enqueue(check: ServedCheck) -> None:
    """Only the folder itself needs a card."""
    where = {"cluster": "gpu"} if check.way == Way.FOLDER else {}
    async_task("modeling.tasks.check_served", check.pk, task_name=f"check served {check.pk}", **where)


def stop(check: ServedCheck, by: User | None = None) -> bool:
    asked = at_work.stop(check)
    if asked:
        at_work.record("check of a served model stopped", check, check.serving, by)
    return asked


def resume(check: ServedCheck, by: User | None = None) -> bool:
    resumed = at_work.resume(check, enqueue)
    if resumed:
        at_work.record("check of a served model resumed", check, check.serving, by)
    return resumed


def take_up() -> None:
    at_work.take_up(ServedCheck, enqueue, end)


# --- Carried out


def carry_out(check: ServedCheck, progress: Progress = lambda _: None) -> bool:
    """False where somebody else has it."""
    if not check.claim():
        return False
    told: dict[str, Any] = {}
    try:
        told = checked(check, progress)
        state, error = JobState.DONE, ""
    except Lost:
        if not still_ours(check).filter(stop_asked=True).exists():
            return True
        state, error = JobState.STOPPED, ""
    except (Refused, Silent, evaluating.Refused) as refusal:
        state, error = JobState.FAILED, str(refusal)
    except FileNotFoundError:
        state, error = JobState.FAILED, "This machine does not see the pictures: let a worker do it that does."
    except BaseException:
        logging.getLogger(__name__).exception("Check %s broke off.", check.pk)
        end(check, JobState.INTERRUPTED, "It broke off. Resume it: it begins anew.")
        raise
    end(check, state, error, told)
    return True


def checked(check: ServedCheck, progress: Progress) -> dict[str, Any]:
    with heartbeat(lambda: still_ours(check), f"Check {check.pk}"):
        doing(check, "reading the posts", progress)
        against = check.against
        assert against is not None  # it goes with the evaluation
        if asked_room.hash_of(asked_room.measured_items(against)) != against.test_hash:
            raise Refused("Posts had to go since the run was evaluated on them. Evaluate it again: "
                          f"{command(check.serving.run, check.split)}")  # fmt: skip
        after = by_server(check, against, progress) if check.way == Way.SERVER else by_folder(check, against, progress)
        doing(check, "comparing", progress)
        return likeness.figures(before(against), after, bar_of(check.serving))


def bar_of(serving: Serving) -> tuple[float, float]:
    """An adapter that learnt beside a base of 4 bits, and is served beside one of 16, is beside another one."""
    beside_another = serving.form == Form.LORA and serving.run.config.get("method") == "qlora"
    rounded = serving.form in (Form.EIGHT, Form.FOUR) or beside_another
    return likeness.ROUNDED if rounded else likeness.EXACT


def before(against: Evaluation) -> Before:
    said = measuring.read(against)
    return Before(said.labels, list(map(str, said.ids)), said.truth, said.told, said.kin, said.scores)


# --- By its server


def by_server(check: ServedCheck, against: Evaluation, progress: Progress) -> dict[str, After]:
    serving = check.serving
    chat = Chat.of(against.dataset.facts)
    words = writing.words_of(serving.run, serving.told)
    server = Server(check.url, check.model, words, label_names(serving.run.dataset))
    ids = {item.position: item.id for item in items(against.dataset, [against.split])}
    check.total = len(ids)
    found: dict[str, After] = {}
    doing(check, "asking", progress)
    for said in server.answers(posts_of(against, chat)):
        found |= {ids[one.position]: as_after(one) for one in said}
        check.done = len(found)
        doing(check, "asking", progress)
    return found


def posts_of(against: Evaluation, chat: Chat) -> Iterator[Post]:
    """Read as they are asked, so that no more than a window of pictures is in memory."""
    for item in items(against.dataset, [against.split]):
        picture = picture_of(item.image) if item.image else None
        yield Post(item.position, chat.user(item.text, has_image=False), picture, item.image.rpartition(".")[2])


def picture_of(image: str) -> bytes:
    file = pictures.opened(image)
    if file is None:
        raise FileNotFoundError(image)
    return b"".join(pictures.read(file))


def as_after(said: Said) -> After:
    return After(said.read.label, said.read.chances, said.read.own, said.content, said.refused)


# --- By the folder itself


def by_folder(check: ServedCheck, against: Evaluation, progress: Progress) -> dict[str, After]:
    asked = check.asked or ask_folder(check, against)
    if asked.state in evaluating.MAY_RESUME:
        again = {"state": JobState.QUEUED, "error": "", "ended": None, "stop_asked": False}
        Evaluation.objects.filter(pk=asked.pk).update(**again)
        asked.refresh_from_db()
    while not asked.is_over:
        if not evaluating.carry_out(asked, lambda now: follow(check, now, progress)):
            time.sleep(LOOK_EVERY)  # another worker has it
        asked.refresh_from_db()
        heard(check)
        if check.stop_asked:
            evaluating.stop(asked)
            raise Lost
    if asked.state != JobState.DONE:
        raise Refused(asked.error or "Asking the folder was stopped.")
    if asked.test_hash != against.test_hash:
        raise Refused("Posts had to go while the folder was asked. Evaluate the run again, and check again.")
    said = measuring.read(asked)
    chances = calibration.apply(said.scores, 1.0)
    return {
        str(name): After(said.labels[told] if told >= 0 else "", dict(zip(said.labels, row.tolist(), strict=True)))
        for name, told, row in zip(said.ids, said.told, chances, strict=True)
    }


def ask_folder(check: ServedCheck, against: Evaluation) -> Evaluation:
    """An evaluation like any other, under a name that tells what it is of."""
    serving = check.serving
    folder = str(writing.folder_of(serving))
    lora = Predictor("run", run=serving.run_id, bits=16)
    predictor = lora if serving.form == Form.LORA else Predictor("base", model=folder)
    with transaction.atomic():
        asked = evaluating.ask(serving.project, check.by, against.dataset, against.split, predictor, queue=False)
        if serving.form != Form.LORA:
            asked.name = f"{serving}, written out"
            asked.save(update_fields=["name"])
        check.asked = asked
        check.save(update_fields=["asked"])
    return asked


def follow(check: ServedCheck, asked: Evaluation, progress: Progress) -> None:
    check.doing, check.done, check.total = asked.doing, asked.done, asked.total
    heard(check)
    progress(check)
    if check.stop_asked:
        evaluating.stop(asked)


def end(check: ServedCheck, state: JobState, error: str = "", told: dict[str, Any] | None = None) -> None:
    with transaction.atomic():
        if not at_work.ended(check, state, error, **({"told": told} if told else {})):
            return
        if state != JobState.STOPPED:
            verb = f"check of a served model {JobState(state).label.lower()}"
            at_work.record(verb, check, check.serving, check.by)
