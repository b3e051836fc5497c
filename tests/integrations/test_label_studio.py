"""Push, annotate and pull against a real Label Studio. LABEL_STUDIO_BIN names the program of an installed one."""

import io
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image as Picture

from annotate import deciding, images, queue, settling
from annotate.deciding import Given
from annotate.label_studio import linking, running
from annotate.label_studio.server import Server
from annotate.models import Image, LabelStudioAnnotation, LabelStudioRun, Post, Project, Review, Role
from annotate.models.label_studio import Outcome, Way
from annotate.queue import Seat
from tests.make import make_label, make_member, make_post, make_project, make_vote
from tests.ports import free_port

BIN = os.environ.get("LABEL_STUDIO_BIN", "")
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not BIN, reason="LABEL_STUDIO_BIN names no installed Label Studio: make test-integrations"),
]

LABELS = ("bearish", 'bull "🐂" <b> & co', "صاعد", "$BTC to the moon")
TEXTS = [
    "gm", "<image>", "<b>bold</b> & <script>alert(1)</script>", 'say "no" & \'yes\'', "صاعد إلى القمر \u202e abc",
    "🐻🚀 \U0001f9d1\u200d\U0001f680", "line one\n\n  line three", "$text and $image and {{x}}", "]]> --> %s {0}",
    "=cmd()", "", "x" * 5000,
]  # fmt: skip
PASSWORD = secrets.token_urlsafe(16)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own in a folder of its own, until the last test here is over."""
    folder, token = tmp_path_factory.mktemp("label-studio"), secrets.token_hex(20)
    port = free_port()
    own = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder), "LABEL_STUDIO_USERNAME": "ann@example.org",
        "LABEL_STUDIO_PASSWORD": PASSWORD, "LABEL_STUDIO_USER_TOKEN": token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true", "COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "",
    }  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "LABEL_STUDIO_"))}
    command = [BIN, "start", "--no-browser", "--port", str(port), "--internal-host", "127.0.0.1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=kept | own, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
        os.environ["TESTS_LABEL_STUDIO_TOKEN"] = token
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            if httpx.get(address, timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    pytest.fail(f"Label Studio did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture
def server(address: str, settings: Any) -> Server:
    settings.LABEL_STUDIO_URL = address
    settings.LABEL_STUDIO_API_KEY = os.environ["TESTS_LABEL_STUDIO_TOKEN"]
    return Server()


@pytest.fixture
def bob(address: str, server: Server, settings: Any) -> Any:
    """A second account there, signed up as people do, with the SDK on its own token."""
    from label_studio_sdk import LabelStudio

    with httpx.Client(base_url=address, follow_redirects=True) as browser:
        browser.get("/user/signup/")
        form = {"email": "bob@example.org", "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        browser.post("/user/signup/", data=form)
        if browser.get("/api/current-user/whoami").status_code != 200:
            browser.get("/user/login/")
            browser.post("/user/login/", data=form | {"csrfmiddlewaretoken": browser.cookies["csrftoken"]})
        token = browser.get("/api/current-user/token").json()["token"]
    return LabelStudio(base_url=f"{address}/", api_key=token)


def picture(project: Project, number: int) -> Image:
    file = io.BytesIO()
    Picture.new("RGB", (60 + number, 40), (20 * number % 255, 90, 120)).save(file, "png")
    seen = images.inspect(file.getvalue())
    images.store(seen)
    return Image.objects.create(
        sha256=seen.sha256, format=seen.format, width=seen.width, height=seen.height, bytes=len(seen.data),
        fingerprint=seen.fingerprint,
    )  # fmt: skip


def contested(project: Project) -> list[Post]:
    posts = [
        make_post(project, text, image=picture(project, n) if n % 3 or not text else None)
        for n, text in enumerate(TEXTS)
    ]
    for post in posts:
        make_vote(post, "gpt", LABELS[1], confidence=0.9)
        make_vote(post, "gemini", LABELS[3], confidence=0.6)
    settling.settle(project, [post.pk for post in posts])
    return posts


def run(project: Project, way: Way) -> LabelStudioRun:
    asked = running.ask(project, None, way, queue=False)
    assert running.carry_out(asked)
    assert asked.state == "done", asked.error
    return asked


def annotate(client: Any, task: int, label: str, **more: Any) -> Any:
    choice = {"from_name": "label", "to_name": "post", "type": "choices", "value": {"choices": [label]}}
    return client.annotations.create(task, result=[choice], was_cancelled=False, **more)


def outcomes(project: Project) -> dict[int, str]:
    known = LabelStudioAnnotation.objects.filter(task__link__project=project)
    return {one.task.disagreement.post_id: one.outcome for one in known.select_related("task__disagreement")}


def test_out_and_back(server: Server, bob: Any) -> None:
    project = make_project("Memes & <more>", labels=LABELS, double_rate=0, question="Is $BTC up? <b> & “so”")
    ada = make_member(project, Role.REVIEWER, "ada", email="ANN@example.org")
    ben = make_member(project, Role.REVIEWER, "ben", email="ben@elsewhere.org")
    posts = contested(project)

    # Out: every post once, whatever stands in it, with its picture and both voters' predictions.
    assert run(project, Way.PUSH).counts["pushed"] == 12
    assert run(project, Way.PUSH).counts.get("pushed", 0) == 0
    link = linking.current(project)
    assert link
    there = {task.disagreement.post_id: task for task in link.tasks.select_related("disagreement")}
    assert set(there) == {post.pk for post in posts}
    for post in posts:
        lies = server.client.tasks.get(str(there[post.pk].number))
        assert lies.data["text"] == post.text
        said = {one.model_version: (one.result[0]["value"]["choices"], one.score) for one in lies.predictions}
        assert said == {"gpt": ([LABELS[1]], 0.9), "gemini": ([LABELS[3]], 0.6)}
        if post.image:
            shown = httpx.get(link.address + lies.data["image"], headers=server.client._client_wrapper.get_headers())
            assert Picture.open(io.BytesIO(shown.content)).size == (post.image.width, post.image.height)
        else:
            assert lies.data["image"] == ""

    # Two people answer there, one skips, and one answer here is first.
    by_ann = annotate(server.client, there[posts[0].pk].number, "صاعد", lead_time=7.5)
    annotate(bob, there[posts[1].pk].number, "$BTC to the moon")
    annotate(bob, there[posts[2].pk].number, "bearish")
    server.client.annotations.create(there[posts[3].pk].number, result=[], was_cancelled=True)
    seat = Seat(project, make_member(project, Role.REVIEWER), Role.REVIEWER, "tab")
    held = [queue.claim(seat) for _ in posts]
    decided = {posts[1].pk: "$BTC to the moon", posts[2].pk: 'bull "🐂" <b> & co'}
    for post, label in decided.items():
        pk = there[post].disagreement_id
        assert pk in held
        deciding.decide(seat, pk, Given(label=make_label(project, label).pk), f"here {pk}")
    queue.release(seat)

    # Back: nothing of anybody's, until it is said who they are.
    run(project, Way.PULL)
    assert set(outcomes(project).values()) == {Outcome.UNMAPPED}
    assert Review.objects.exclude(reviewer=seat.user).count() == 0
    people = {person.email: person for person in linking.people(project)}
    assert linking.suggested(people["ann@example.org"], list(linking.candidates(project))) == ada
    assert linking.suggested(people["bob@example.org"], list(linking.candidates(project))) is None
    linking.say_who(project, {people["ann@example.org"].pk: ada.pk, people["bob@example.org"].pk: ben.pk})
    run(project, Way.PULL)
    assert outcomes(project) == {
        posts[0].pk: Outcome.APPLIED, posts[1].pk: Outcome.AGREES, posts[2].pk: Outcome.CONFLICT,
        posts[3].pk: Outcome.SKIPPED,
    }  # fmt: skip
    review = Review.objects.get(reviewer=ada, instead="")
    voters = set(project.voters.values_list("pk", flat=True))
    assert (review.label.name, review.seconds, set(review.saw)) == ("صاعد", 7.5, voters)
    posts[0].refresh_from_db()
    posts[2].refresh_from_db()
    assert (posts[0].state, posts[0].label_source) == ("settled", "review")
    assert posts[2].label.name == 'bull "🐂" <b> & co'

    # Again, and after a change of mind there: nothing doubles, nothing is overwritten, the change is shown.
    before = Review.objects.count()
    server.client.annotations.update(
        by_ann.id,
        result=[{"from_name": "label", "to_name": "post", "type": "choices", "value": {"choices": ["bearish"]}}],
    )
    run(project, Way.PULL)
    assert Review.objects.count() == before
    posts[0].refresh_from_db()
    assert posts[0].label.name == "صاعد"
    assert LabelStudioAnnotation.objects.get(number=by_ann.id).says_now == "bearish"


def test_a_token_of_the_new_kind_is_good_too(server: Server, settings: Any) -> None:
    """A personal access token, which the SDK exchanges for short-lived ones by itself."""
    ask = server.client._client_wrapper.httpx_client.request
    ask("api/jwt/settings", method="POST", json={"api_tokens_enabled": True, "legacy_api_tokens_enabled": True})
    settings.LABEL_STUDIO_API_KEY = ask("api/token/", method="POST", json={}).json()["token"]
    assert "ann@example.org" in [person.email for person in Server().people()]


def test_what_was_deleted_there_is_told(server: Server) -> None:
    project = make_project(double_rate=0)
    post = make_post(project)
    make_vote(post, "gpt", "bullish")
    make_vote(post, "gemini", "bearish")
    settling.settle(project, [post.pk])
    run(project, Way.PUSH)
    link = linking.current(project)
    assert link
    server.client.tasks.delete(str(link.tasks.get().number))
    assert run(project, Way.PULL).counts["task deleted there"] == 1
    server.client.projects.delete(id=link.number)
    asked = running.ask(project, None, Way.PULL, queue=False)
    running.carry_out(asked)
    assert (asked.state, "no longer in Label Studio" in asked.error) == ("failed", True)
    linking.leave(project)
    assert run(project, Way.PUSH).counts["pushed"] == 1
