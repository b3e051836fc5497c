"""What people and programs do with a site all at once: import, have machines vote, review, freeze, export, train,
evaluate, pre-label. Whatever they are told has been taken or done is noted; whatever says that it broke off, they press
again."""

import io
import json
import random
import tempfile
import threading
import time
import uuid
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from annotate.operating.slow_clients import BROKEN_OFF
from tests.faults.journal import Journal
from tests.faults.people import Form, Over, Person, Worker, heard
from tests.faults.provider import LABELS
from tests.test_import import picture

BUDGET = "5"  # dollars for a run, far more than it takes
SKIPS, UNDOES, ERRS = 0.04, 0.1, 0.15
FORMATS = ("sharegpt", "trl", "llamafactory", "parquet")


@dataclass
class Told:
    """What was acknowledged."""

    imports: dict[int, list[str]] = field(default_factory=dict)  # by number, the posts in it
    pressed: Counter[str] = field(default_factory=Counter)  # what had to be taken up by hand, after it said so
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    exported: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Load:
    address: str
    slug: str
    tokens: dict[str, str]  # of the admin and of the reviewers
    session: str  # a login link of the admin
    voters: list[int]
    labels: dict[str, int]
    folder: Path
    over: threading.Event
    rows: int = 200
    pictures: int = 12
    steps: int = 6
    told: Told = field(default_factory=Told)
    numbers: int = 0
    exporting: int = 0

    def __post_init__(self) -> None:
        self.api = f"/api/projects/{self.slug}"
        self.page = f"/p/{self.slug}"
        self.browser = Person(self.address, self.over, login=self.session)
        self.dice = random.Random(self.slug)

    def admin(self) -> Person:
        return Person(self.address, self.over, token=self.tokens["admin"])

    def pages(self) -> Person:
        """Of the one who is logged in; each thread with connections of its own."""
        person = Person(self.address, self.over)
        person.http.cookies = self.browser.http.cookies
        return person

    def workers(self, pause: float) -> list[Worker]:
        reviewers = [name for name in self.tokens if name != "admin"]
        made = [
            Worker("imports", self.importing(), self.over, 3 * pause),
            Worker("votes", self.voting(), self.over, pause),
            Worker("datasets", self.freezing(), self.over, 4 * pause),
            Worker("models", self.modelling(), self.over, pause),
            Worker("looks", self.looking(), self.over, pause / 4),
        ]
        return made + [Worker(name, self.reviewing(name), self.over, pause / 20) for name in reviewers]

    def name(self) -> str:
        with self.told.lock:
            self.numbers += 1
            return f"{self.numbers:04}"

    # --- Imports

    def importing(self) -> Any:
        program, browser = self.admin(), self.pages()
        kinds = iter(lambda: self.dice.choice(("csv", "zip", "jsonl")), None)
        first = iter(("csv", "zip", "jsonl"))

        def turn() -> None:
            kind = next(first, None) or next(kinds)
            start = 1 + 1000 * int(self.name())
            ids = [f"p{n}" for n in range(start, start + (self.pictures if kind == "zip" else self.rows))]
            if kind == "jsonl":
                body = "\n".join(json.dumps({"id": pk, "text": words(pk)}) for pk in ids).encode()
                pk = program.post(f"{self.api}/posts", content=body).raise_for_status().json()["id"]
            else:
                pk = self.uploaded(browser, *(as_csv(ids) if kind == "csv" else as_zip(ids)))
            self.told.imports[pk] = ids
            self.see_through(browser, f"{self.page}/imports/{pk}", f"{self.page}/imports/{pk}/start", "import")

        return turn

    def uploaded(self, browser: Person, name: str, data: bytes) -> int:
        """A draft that is looked at, and begun as the page proposes."""
        sent = browser.post(f"{self.page}/imports/new", data={"door": "file"}, files={"file": (name, data)})
        assert sent.status_code == 302, sent.text[:500]
        draft = sent.headers["location"]
        start = f"{draft}/start"
        form = Form(browser.get(draft).text, start)
        assert form.found, "the draft has no form"
        begun = browser.post(start, data=form.fields)
        assert begun.status_code == 302, begun.text[:500]
        return int(draft.rpartition("/")[2])

    def see_through(self, browser: Person, page: str, again: str, what: str) -> None:
        """Until the page says that it is done; where it offers to go on, that is pressed."""
        while not self.over.is_set():
            shown = browser.get(page)
            assert shown.status_code == 200, f"{page}: {shown.status_code}"
            if ">Done<" in shown.text or ">Done " in shown.text or "<h2>Done" in shown.text:
                self.told.done[what] += 1
                return
            if Form(shown.text, again).found:
                self.told.pressed[what] += 1
                assert browser.post(again).status_code in (200, 302), again
            time.sleep(1)

    # --- Votes

    def voting(self) -> Any:
        browser = self.pages()

        def turn() -> None:
            asked = browser.post(
                f"{self.page}/votes/new", data={"voters": self.voters, "budget": BUDGET, "limit": "", "mode": "live"}
            )
            if asked.status_code == 302 and "/votes/" in asked.headers["location"]:
                at = asked.headers["location"]
            elif not (at := self.under_way(browser)):
                return
            self.watch_votes(browser, at)

        return turn

    def under_way(self, browser: Person) -> str:
        """A run whose beginning was not heard of."""
        listed = browser.get(f"{self.page}/votes").text
        runs = [part.partition('"')[0] for part in listed.split(f'href="{self.page}/votes/')[1:]]
        for pk in sorted({int(run) for run in runs if run.isdecimal()}, reverse=True)[:3]:
            if not over_in(browser.get(f"{self.page}/votes/{pk}").text):
                return f"{self.page}/votes/{pk}"
        return ""

    def watch_votes(self, browser: Person, at: str) -> None:
        while not self.over.is_set():
            shown = browser.get(at).text
            for press in ("retry", "resume"):
                if Form(shown, f"{at}/{press}").found:
                    self.told.pressed[f"voting, {press}"] += 1
                    browser.post(f"{at}/{press}", data={"budget": ""} if press == "resume" else {})
                    break
            else:
                if over_in(shown):
                    self.told.done["voting"] += 1
                    return
            time.sleep(1)

    # --- Reviews

    def reviewing(self, who: str) -> Any:
        person = Person(self.address, self.over, token=self.tokens[who])
        journal, dice = Journal(self.folder / who), random.Random(who)
        names = {pk: name for name, pk in self.labels.items()}

        def turn() -> None:
            asked = {"tab": who, "n": 1}
            cards = person.post(f"{self.api}/queue/next", json=asked).raise_for_status().json()["cards"]
            if not cards:
                self.over.wait(1)
                return
            pk = cards[0]["id"]
            said = {"instead": "skip"} if dice.random() < SKIPS else {"label": self.label_for(pk, dice)}
            key = uuid.uuid4().hex
            journal.write(ask=key, pk=pk, said=list(said.values()))
            answer = self.told_for_sure(person, "POST", f"/api/disagreements/{pk}/review",
                                        json={"tab": who, **said}, headers={"Idempotency-Key": key})  # fmt: skip
            if answer.status_code == 200:
                journal.write(kept=key)
                if "label" in said and answer.json()["label"] != said["label"]:
                    self.told.wrong.append(f"{key} said {said}, and was told {answer.text[:200]}")
                if dice.random() < UNDOES:
                    take_back(pk)
            else:
                assert answer.status_code == 409, answer.text[:300]
                journal.write(refused=key, why=answer.json()["detail"])

        def take_back(pk: int) -> None:
            journal.write(undo=pk)
            gone = self.told_for_sure(person, "DELETE", f"/api/disagreements/{pk}/review?tab={who}")
            if gone.status_code == 200:
                journal.write(undone=pk, review=gone.json()["review"]["id"])
            else:
                assert gone.status_code == 409, gone.text[:300]
                journal.write(undone=pk, why=gone.json()["detail"])

        assert names
        return turn

    def told_for_sure(self, person: Person, method: str, path: str, **more: Any) -> httpx.Response:
        """Also after all is over: what was sent is kept or refused, and never unknown."""
        while True:
            try:
                return person.ask(method, path, **more)
            except Over:
                time.sleep(0.5)

    def label_for(self, pk: int, dice: random.Random) -> str:
        return dice.choice(LABELS) if dice.random() < ERRS else LABELS[pk % 3]

    # --- Datasets

    def freezing(self) -> Any:
        program = self.admin()

        def turn() -> None:
            name = f"d{self.name()}"
            asked = {"name": name, "validation": 0.2, "test": 0.2}
            begun = program.post(f"{self.api}/datasets", json=asked)
            if begun.status_code == 409:  # the answer to the first time was lost on its way
                self.told.done["datasets asked for twice"] += 1
            else:
                assert begun.status_code == 202, begun.text[:300]
            if not self.frozen(program, name):
                return
            self.exporting += 1
            for kind in self.dice.sample(FORMATS, 2):
                self.export(program, name, kind)
            self.exporting -= 1

        return turn

    def frozen(self, program: Person, name: str) -> bool:
        while not self.over.is_set():
            told = program.get(f"{self.api}/datasets/{name}").raise_for_status().json()
            if told["state"] == "frozen":
                self.told.done["frozen"] += 1
                return True
            if told["state"] in ("failed", "cancelled"):
                if "No post was left" in told["error"]:
                    return False
                assert told["error"], "a dataset failed and does not say why"
                self.told.pressed["freezing"] += 1
                program.post(f"{self.api}/datasets", json={"name": name, "validation": 0.2, "test": 0.2})
            time.sleep(1)
        return False

    def export(self, program: Person, name: str, kind: str) -> None:
        """What arrives to its end is whole, and the same every time."""
        path = f"{self.api}/datasets/{name}/download?format={kind}"
        while not self.over.is_set():
            try:
                with program.http.stream("GET", path) as answer, tempfile.TemporaryFile() as file:
                    heard[f"export {answer.status_code}"] += 1
                    if answer.status_code == 200:
                        for chunk in answer.iter_bytes():
                            file.write(chunk)
                        if says_that_it_broke_off(file):
                            heard["export broke off, and said so"] += 1
                            continue
                        if break_off := broken_archive(file):
                            self.told.wrong.append(f"{kind} of {name} was taken for whole: {break_off}")
                        self.told.done["exports"] += 1
                        return
                    assert answer.status_code >= 500, answer.read()[:300]
            except httpx.HTTPError:
                heard["export broke off, and was seen to"] += 1
            time.sleep(0.5)

    # --- Models

    def modelling(self) -> Any:
        program = self.admin()

        def turn() -> None:
            settings = {"max_steps": self.steps, "evaluate_every": 3}
            asked = program.post(f"{self.api}/runs", json={"recipe": "tiny", "settings": settings})
            if asked.status_code == 422:  # nothing is frozen yet
                self.over.wait(1)
                return
            run = asked.raise_for_status().json()
            if not self.come_through(program, f"{self.api}/runs/{run['id']}", "training"):
                return
            for predictor in (f"run-{run['id']}", "consensus"):
                ask = {"predictor": predictor, "on": "test", "dataset": run["dataset"]}
                begun = program.post(f"{self.api}/evaluations", json=ask)
                if begun.status_code == 202:
                    self.come_through(program, f"{self.api}/evaluations/{begun.json()[0]['id']}", "evaluating")
            self.pre_label(program, run["id"])

        return turn

    def pre_label(self, program: Person, run: int) -> None:
        ask = {"run": run, "threshold": 0.5, "growth": 0, "most_doubts": 5, "posts": {"state": "waiting"}}
        made = program.post(f"{self.api}/prelabellings", json=ask)
        assert made.status_code == 202, made.text[:300]
        at = f"{self.api}/prelabellings/{made.json()['id']}"
        for goal in ("", "apply", "take-back"):
            if goal:
                begun = program.post(f"{at}/{goal}", json={} if goal == "apply" else None)
                assert begun.status_code in (202, 409), begun.text[:300]
            if not self.come_through(program, at, f"pre-labelling {goal}".strip()):
                return

    def come_through(self, program: Person, at: str, what: str) -> bool:
        """Where it was broken off and does not go on by itself, it is resumed, and says why."""
        while not self.over.is_set():
            told = program.get(at).raise_for_status().json()
            if told["state"] == "done":
                self.told.done[what] += 1
                return True
            if told["state"] in ("failed", "stopped") or (told["state"] == "interrupted" and told["error"]):
                if not told["error"]:
                    self.told.wrong.append(f"{at} is {told['state']} and does not say why")
                if "TooFew" in told["error"] or "Nothing" in told["error"]:
                    return False
                again = program.post(f"{at}/resume")
                self.told.pressed[f"{what} ({told['error'][:60]})"] += 1
                if again.status_code not in (202, 409):
                    self.told.wrong.append(f"{at} cannot be resumed: {again.text[:200]}")
            time.sleep(1)
        return False

    # --- Pages

    def looking(self) -> Any:
        browser = self.pages()
        places = ["/", "", "/posts", "/quality", "/votes", "/imports", "/datasets", "/runs", "/evaluations",
                  "/prelabellings", "/reviewers", "/agreement", "/review"]  # fmt: skip

        def turn() -> None:
            place = self.dice.choice(places)
            path = place if place == "/" else f"{self.page}{place or '/'}"
            shown = browser.get(path)
            if shown.status_code != 200:
                self.told.wrong.append(f"{path} answers {shown.status_code}: {shown.text[:200]}")

        return turn


def words(pk: str) -> str:
    return f"post #{pk[1:]}# of many, to the moon or to the floor"


def as_csv(ids: list[str]) -> tuple[str, bytes]:
    """Every tenth comes with its label."""
    rows = [f"{pk},{words(pk)},{LABELS[int(pk[1:]) % 3] if int(pk[1:]) % 10 == 0 else ''}" for pk in ids]
    return "posts.csv", "\n".join(["id,text,label", *(row.replace(", to", " to") for row in rows)]).encode()


def as_zip(ids: list[str]) -> tuple[str, bytes]:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        lines = [json.dumps({"id": pk, "text": words(pk), "image": f"{pk}.png"}) for pk in ids]
        archive.writestr("posts.jsonl", "\n".join(lines))
        for pk in ids:
            archive.writestr(f"{pk}.png", picture(pk, int(pk[1:]) % 50))
    return "pictures.zip", held.getvalue()


def over_in(page: str) -> bool:
    return any(f">{word}<" in page for word in ("Done", "Cancelled"))


def says_that_it_broke_off(file: Any) -> bool:
    file.seek(0, io.SEEK_END)
    file.seek(max(0, file.tell() - len(BROKEN_OFF)))
    return bool(file.read() == BROKEN_OFF)


def broken_archive(file: Any) -> str:
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() or ""
    except zipfile.BadZipFile as error:
        return str(error)
