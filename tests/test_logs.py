"""The log as it is written, for people and for machines; and what somebody sees when something broke."""

import io
import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from django.urls import reverse

from annotate import masked_logs
from annotate.models import ApiToken, Role
from annotate.operating import at_work, log_lines
from tests.make import make_member, make_project, make_user

pytestmark = pytest.mark.django_db

SENTENCE = "Something broke on the server. Try again; if it breaks again, tell whoever runs it the number {}."
FORMS = {"line": log_lines.Line, "json": log_lines.Json}
Written = Callable[[], str]


@pytest.fixture(params=FORMS)
def written(request) -> Iterator[Written]:
    """What the console would show."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(FORMS[request.param]())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream.getvalue
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def objects(written, request) -> Callable[[], list[dict[str, object]]]:
    if request.node.callspec.params["written"] != "json":
        pytest.skip("of JSON")
    return lambda: [json.loads(line) for line in written().splitlines()]


@pytest.fixture
def client() -> Client:
    """As a browser: it sees what an exception becomes."""
    return Client(raise_request_exception=False)


@pytest.fixture
def breaks(monkeypatch) -> Callable[..., None]:
    """A view whose means fail as nobody foresaw."""

    def break_it(where: str, words: str = "the fruit machine is jammed") -> None:
        def boom(*_: object, **__: object) -> None:
            raise RuntimeError(words)

        monkeypatch.setattr(where, boom)

    return break_it


class TestSecrets:
    SECRET = "s3cr3tValue-0123456789"
    SAID = (
        "GET /invited/{}", "/login/7/{} was opened", "https://x.example/cb?code={}&state=open", "?next=/&key={}",
        "api_key={}", "'api_key': '{}'", '{{"token": "{}"}}', "Authorization: Bearer {}", "authorization: Basic {}",
        "{{'Authorization': 'Bearer {}'}}", "{{b'x-api-key': b'{}'}}", "Bearer {}", "password={}&username=me",
        "postgresql://me:{}@db.example/votes", "Cookie: theme=dark; sessionid={}", "csrfmiddlewaretoken={}",
        "X-Goog-Api-Key: {}", "client_secret={}", "refresh_token = {}", "X-Amz-Signature={}", "cv_{}", "sk-proj-{}",
        "hf_{}x", "AIza{}", "SECRET_KEY='{}'",
    )  # fmt: skip

    @pytest.mark.parametrize("said", SAID)
    def test_are_in_no_line_wherever_they_came_in(self, said, written):
        words = said.format(self.SECRET)
        log = logging.getLogger("anybody")
        log.warning(words)
        log.warning("It said %s and %r", words, {"deep": words})
        log.warning("Structured", extra={"more": {"answer": words}})
        try:
            raise ValueError(words)
        except ValueError:
            log.exception("Broke")
        assert written().count(masked_logs.HIDDEN) >= 4
        assert self.SECRET not in written()

    def test_what_was_given_to_us_is_known_by_sight(self, written, monkeypatch, settings):
        monkeypatch.setenv("STRANGE_API_KEY", "plain words as a key")
        monkeypatch.setenv("SHORT_KEY", "the")
        masked_logs.known_secrets.cache_clear()
        logging.getLogger("x").warning("It took plain words as a key, and the %s", settings.SECRET_KEY)
        masked_logs.known_secrets.cache_clear()
        assert f"It took {masked_logs.HIDDEN}, and the {masked_logs.HIDDEN}" in written()

    def test_ordinary_words_stay(self, written):
        words = "35 tokens, key 3 of 9, /login, state=open, http://127.0.0.1:8000/p/a, the secret is out, a Bearer"
        logging.getLogger("x").warning(words)
        assert words in written()
        assert masked_logs.HIDDEN not in written()

    def test_of_real_requests(self, client, written, breaks):
        _, token = ApiToken.issue(make_user(is_superuser=True), "ci")
        client.get(f"/api/projects?token={token}", headers={"Authorization": f"Bearer {token}"})
        breaks("annotate.api.open_project", f"could not ask with {token}")
        client.get("/api/projects/any", headers={"Authorization": f"Bearer {token}"})
        client.get(f"/invited/{token}")
        client.post("/login", {"username": "x", "password": "a wrong secret"})
        assert "could not ask with cv_***" in written()
        assert token not in written()
        assert "a wrong secret" not in written()


class TestLines:
    def test_nobody_can_write_a_line_of_their_own(self, written, client):
        client.get("/nothing%0A2026-01-01 00:00:00,000 ERROR root: made up%E2%80%A8here")
        logging.getLogger("x").warning("one\r\ntwo\x1b[31m")
        assert not [line for line in re.split(r"[\r\n\u2028\x1b]", written()) if line.startswith(("2026-01-01", "two"))]

    def test_a_request_is_told_with_its_number_person_project_and_route(self, client, objects, caplog):
        caplog.set_level(logging.INFO, "annotate.requests")
        project = make_project()
        person = make_member(project, Role.LEAD)
        client.force_login(person)
        number = client.get(reverse("posts", args=[project.slug]))["X-Request-ID"]
        [line] = [line for line in objects() if line["logger"] == "annotate.requests"]
        assert re.fullmatch(r"[a-z2-7]{4}-[a-z2-7]{4}", number)
        assert line.pop("ms") >= 0
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
        assert line.pop("message").startswith("GET posts 200 ")
        assert line == {
            "level": "INFO", "logger": "annotate.requests", "request_id": number, "route": "posts", "method": "GET",
            "project": project.slug, "user_id": person.pk, "status": 200,
        }  # fmt: skip
        assert person.username not in json.dumps(objects())

    def test_what_django_says_of_a_request_bears_its_number_too(self, client, objects):
        number = client.get("/nothing")["X-Request-ID"]
        assert {line["request_id"] for line in objects() if line["logger"] == "django.request"} == {number}

    def test_what_polls_and_what_every_page_fetches_is_quiet(self, client, written, settings):
        client.get("/", headers={"HX-Request": "true"})
        client.get("/healthz")
        client.get("/static/none.css")
        told = [line for line in written().splitlines() if "annotate.requests" in line]
        assert not [line for line in told if "INFO" in line]

    @pytest.mark.parametrize(("given", "taken"), [
        ("0b5e1a3c-55f0-4f7e-9d3a-3f2a9d1c7e11", True), ("a" * 40, True), ("a" * 41, False), ("", False), ("ab", False),
        ("../../etc", False), ("<script>", False), ("a b c d", False), ("number\u00e9", False),
    ])  # fmt: skip
    def test_a_number_is_taken_only_if_it_is_short_and_harmless(self, client, given, taken):
        number = client.get("/healthz", headers={"X-Request-ID": given})["X-Request-ID"]
        assert (number == given) is taken
        assert at_work.HARMLESS.fullmatch(number)

    def test_numbers_do_not_outlive_their_request(self, client):
        client.get("/healthz")
        assert at_work.told() == {}


class TestBroken:
    def test_a_page_shows_the_number_that_stands_beside_the_traceback(self, client, breaks, written):
        client.force_login(make_user(is_superuser=True))
        breaks("annotate.views.projects.render")
        page = client.get("/")
        number = page["X-Request-ID"]
        assert page.status_code == 500
        assert f"<code>{number}</code>" in page.text
        assert "jammed" not in page.text
        said = written()
        assert "RuntimeError: the fruit machine is jammed" in said
        told = next(line for line in said.splitlines() if "Internal Server Error" in line)
        assert number in told

    def test_a_part_of_a_page_is_a_sentence(self, client, breaks):
        client.force_login(make_user(is_superuser=True))
        breaks("annotate.views.projects.render")
        answer = client.get("/", headers={"HX-Request": "true"})
        assert (answer.status_code, answer["Content-Type"]) == (500, "text/plain; charset=utf-8")
        assert answer.text == SENTENCE.format(answer["X-Request-ID"])

    def test_programs_are_told_in_their_own_form(self, client, breaks):
        _, token = ApiToken.issue(make_user(is_superuser=True), "ci")
        bearer = {"Authorization": f"Bearer {token}"}
        breaks("annotate.api.open_project")
        answer = client.get("/api/projects/any", headers=bearer)
        number = answer["X-Request-ID"]
        assert (answer.status_code, answer.json()) == (500, {"detail": SENTENCE.format(number), "number": number})
        breaks("modeling.views.completions.run_called")
        answer = client.get("/v1/models/any", headers=bearer)
        assert answer.status_code == 500
        assert answer.json()["error"]["message"] == SENTENCE.format(answer["X-Request-ID"])

    def test_the_page_needs_no_database_and_if_need_be_no_template(
        self, client, breaks, settings, django_assert_num_queries
    ):
        breaks("annotate.views.people.render")
        with django_assert_num_queries(0):
            assert "Number to quote" in client.get("/login").text
        breaks("annotate.operating.broken.render_to_string")
        page = client.get("/login")
        assert (page.status_code, page["X-Request-ID"] in page.text) == (500, True)

    def test_other_pages_stay_as_they_are(self, client):
        assert "There is nothing here" in client.get("/nothing").text
        assert client.get("/", headers={"Host": "elsewhere"}).status_code == 400
