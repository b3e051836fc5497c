"""The few things we ask of a Label Studio server, through its SDK. Each failure becomes one sentence.

Its address and token come from the settings alone. The token is never stored, shown or logged; neither is what the SDK
says of a failure, because that holds the cookies of a session.
"""

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings

from .tasks import Answer, Json, answer_in, mark_in

if TYPE_CHECKING:
    import httpx
    from label_studio_sdk.core.request_options import RequestOptions

TIMEOUT = 60.0  # seconds; a batch of tasks with its pictures takes a server on a laptop one
TRIES_AGAIN = 2  # what only reads
ONCE: "RequestOptions" = {"max_retries": 0}  # what writes: sent again it could stand there twice
PAGE = 100
WITH_ANSWERS = "id,meta,annotations,result,completed_by,was_cancelled,lead_time"  # of the task, and of those
LONGEST_TITLE = 50  # characters, as Label Studio wants it


class Failed(Exception):
    """The words are for whoever asked, and say what to mend."""


class ProjectGone(Failed):
    """The server is there, and the project is not."""


@dataclass(frozen=True, slots=True)
class Person:
    number: int
    email: str
    name: str


@dataclass(frozen=True, slots=True)
class Annotation:
    number: int
    who: int
    answer: Answer
    skipped: bool
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Task:
    number: int
    mark: int | None
    annotations: tuple[Annotation, ...]


# --- Whether it is set up
def problem() -> str:
    """What stands in the way before anything is asked, in words for an admin; blank where nothing does."""
    if not settings.LABEL_STUDIO_URL:
        return (
            "No Label Studio server is named. Set LABEL_STUDIO_URL to its address, and LABEL_STUDIO_API_KEY to a token."
        )
    split = urlsplit(settings.LABEL_STUDIO_URL)
    if split.scheme not in {"http", "https"} or not split.hostname:
        return "LABEL_STUDIO_URL is not a web address; it looks like https://label-studio.example.org."
    if not settings.LABEL_STUDIO_API_KEY:
        return "LABEL_STUDIO_API_KEY is not set: it is the token on the account page of Label Studio."
    if importlib.util.find_spec("label_studio_sdk") is None:
        return "The part that speaks with Label Studio is not installed: pip install casting-vote[labelstudio]"
    return ""


def address() -> str:
    """As it may be shown and stored: whatever user name or password stands in the setting is not part of it."""
    split = urlsplit(settings.LABEL_STUDIO_URL)
    return split._replace(netloc=split.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")


def connect() -> "Server":
    if sentence := problem():
        raise Failed(sentence)
    return Server()


# --- What is asked of it
class Server:
    def __init__(self) -> None:
        from label_studio_sdk import LabelStudio  # takes a second, and most processes never need it

        with told():
            # Half of what the server answers is not in the SDK's types.
            self.client: Any = LabelStudio(  # type: ignore[no-untyped-call]
                base_url=settings.LABEL_STUDIO_URL.rstrip("/") + "/", api_key=settings.LABEL_STUDIO_API_KEY,
                timeout=TIMEOUT, max_retries=TRIES_AGAIN, follow_redirects=False,
            )  # fmt: skip

    def request(self, path: str, **more: Any) -> "httpx.Response":
        """What the SDK has no call for, over its own connection, which carries the token and keeps it fresh."""
        answer: httpx.Response = self.client._client_wrapper.httpx_client.request(path, **more)
        return answer

    def people(self) -> list[Person]:
        with told():
            found = self.client.users.list()
            return [Person(one.id, one.email or "", f"{one.first_name or ''} {one.last_name or ''}".strip())
                    for one in found]  # fmt: skip

    # Projects
    def find_project(self, title: str, description: str, besides: Sequence[int]) -> int | None:
        """One of ours that was made there and never noted here, because we were killed in between."""
        with told():
            for project in self.client.projects.list(title=title[:LONGEST_TITLE], page_size=PAGE).items or []:
                if project.description == description and project.id not in besides:
                    return int(project.id)
        return None

    def make_project(self, title: str, description: str, config: str) -> int:
        """Its labelling stream begins every post blank: else it would put one voter's answer in beforehand."""
        with told():
            made = self.client.projects.create(
                title=title[:LONGEST_TITLE], description=description, label_config=config,
                show_collab_predictions=False, request_options=ONCE,
            )  # fmt: skip
            return int(made.id)

    def set_config(self, number: int, config: str) -> None:
        with told(number):
            self.client.projects.update(id=number, label_config=config, request_options=ONCE)

    def see_project(self, number: int) -> None:
        with told(number):
            self.client.projects.get(id=number)

    # Tasks
    def upload(self, number: int, pictures: Sequence[tuple[str, bytes]]) -> list[str]:
        """Kept by the server itself, so that it can show them without reaching us. Their addresses, in order."""
        if not pictures:
            return []
        files = {
            str(place): (name, data, f"image/{name.rpartition('.')[2]}") for place, (name, data) in enumerate(pictures)
        }
        with told(number):
            answer = self.request(
                f"api/projects/{number}/import", method="POST", params={"commit_to_project": "false"}, files=files,
                request_options=ONCE,
            )  # fmt: skip
            ids = checked(answer, number)["file_upload_ids"]
            known = {file.id: file.file for file in self.client.files.list(number, ids=json.dumps(ids))}
            return [f"/data/{known[upload]}" for upload in ids]

    def add(self, number: int, tasks: Sequence[Json]) -> list[int]:
        """The tasks' numbers, in order."""
        with told(number):
            added = self.client.projects.import_tasks(
                id=number, request=list(tasks), return_task_ids=True, request_options=ONCE
            )
            numbers = list(getattr(added, "task_ids", None) or [])
        if len(numbers) != len(tasks):
            raise Failed(
                "Label Studio took the tasks without saying where it put them, as its paid editions do, which import "
                "later and by themselves. The next push looks at what is there and goes on."
            )
        return numbers

    def pages(self, number: int, annotations: bool) -> Iterator[tuple[list[Task], int]]:
        """All tasks there, a page at a time, and how many there are in all."""
        include = WITH_ANSWERS if annotations else "id,meta"
        page, seen, total = 0, 0, 1
        while seen < total:
            page += 1
            with told(number):
                # Not as the SDK's own objects, which leave out how many there are.
                answer = self.request(
                    "api/tasks/", method="GET",
                    params={"project": number, "fields": "all", "include": include, "page": page, "page_size": PAGE},
                )  # fmt: skip
                if answer.status_code == 404 and page > 1:
                    break
                told_of = checked(answer, number)
                tasks = [read_task(one) for one in told_of["tasks"]]
                total = int(told_of["total"])
            seen += max(len(tasks), 1)
            yield tasks, total
        self.see_project(number)  # a project deleted while it was read looks like the end of its pages

    def has_task(self, number: int) -> bool:
        with told():
            answer = self.request(f"api/tasks/{number}/", method="GET")
            return answer.status_code != 404 and bool(checked(answer))


def read_task(told_of: Json) -> Task:
    annotations = [read_annotation(one) for one in told_of.get("annotations") or []]
    return Task(int(told_of["id"]), mark_in(told_of.get("meta")), tuple(annotations))


def read_annotation(one: Json) -> Annotation:
    who = one["completed_by"]
    lead_time = one.get("lead_time")
    return Annotation(
        number=int(one["id"]),
        who=int(who["id"] if isinstance(who, dict) else who or 0),
        answer=answer_in(one["result"]),
        skipped=bool(one.get("was_cancelled")),
        seconds=float(lead_time) if isinstance(lead_time, int | float) else None,
    )


# --- What went wrong, in words
@contextmanager
def told(project: int | None = None) -> Iterator[None]:
    """`from None`, so that no traceback in a log carries what the server sent."""
    import httpx
    from label_studio_sdk.core.api_error import ApiError

    try:
        yield
    except Failed:
        raise
    except ApiError as error:
        raise in_words(error.status_code or 0, error.body, project, error.headers) from None
    except httpx.TimeoutException:
        raise Failed(
            f"Label Studio at {address()} took more than {TIMEOUT:g} seconds to answer. Try again later."
        ) from None
    except httpx.HTTPError as error:
        raise Failed(
            f"Label Studio at {address()} could not be reached ({type(error).__name__}). Is LABEL_STUDIO_URL right, "
            "and the server up?"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):  # what came was JSON, or not even that, of another kind
        raise Failed(NOT_IT.format(address())) from None


NOT_IT = (
    "What answers at {} does not speak as Label Studio does. Is LABEL_STUDIO_URL its address, and not a proxy's page?"
)


def in_words(status: int, body: Any, project: int | None, headers: Mapping[str, str] | None = None) -> Failed:
    if status in {401, 403}:
        return Failed(
            f"Label Studio at {address()} refused the token. Put a valid one into LABEL_STUDIO_API_KEY; its account "
            "must be allowed to make projects and see their tasks."
        )
    if status == 404 and project and isinstance(body, dict):
        return ProjectGone(
            f"Project {project} is no longer in Label Studio at {address()}. Begin a new one there, and push again."
        )
    if 300 <= status < 400:
        went = (headers or {}).get("location", "elsewhere")
        return Failed(
            f"Label Studio at {address()} sends on to {went[:200]}: set LABEL_STUDIO_URL to where it really is."
        )
    if status >= 500:
        return Failed(
            f"Label Studio at {address()} had a fault of its own ({status}); its log says more. Try again later."
        )
    if status == 400 and isinstance(body, dict):
        return Failed(f"Label Studio refused it: {reasons(body)}")
    return Failed(NOT_IT.format(address()))


def reasons(body: Mapping[str, Any]) -> str:
    told_of = body.get("validation_errors") or body.get("detail") or "it does not say why."
    words = told_of if isinstance(told_of, str) else json.dumps(told_of, ensure_ascii=False)
    return words[:500]


def checked(answer: "httpx.Response", project: int | None = None) -> Any:
    """Where we ask without the SDK's own calls: what came, where it is what was asked for."""
    if answer.is_success:
        return answer.json()
    try:
        body = answer.json()
    except ValueError:
        body = None
    raise in_words(answer.status_code, body, project, answer.headers)
