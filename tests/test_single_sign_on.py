"""Logging in by OpenID Connect: a real site process and a real issuer, walked through as a browser does."""

import base64
import hashlib
import html
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import flask
import httpx
import jwt
import oidc_provider_mock
import pytest
import werkzeug.serving
from django.db import connection
from django.utils import timezone

from annotate.forms.people import ProfileForm
from annotate.login_links import login_link
from annotate.models import Event, Invitation, Role, User
from annotate.operating import sign_on_settings
from tests.make import PASSWORD, make_member, make_project, make_user
from tests.ports import free_port
from tests.test_import_faults import database_url
from tests.test_up import soon

ROOT = Path(__file__).resolve().parent.parent
CLIENT = "casting-vote"
TABLES = "account_emailaddress, account_emailconfirmation, socialaccount_socialaccount, socialaccount_socialapp, " \
         "socialaccount_socialtoken"  # fmt: skip
FOREIGN_KEYS = """
SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype = 'f' AND confrelid = 'annotate_user'::regclass
AND conrelid::regclass::text ~ '^(social)?account_'
"""

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib", "ignore:authlib.jose:DeprecationWarning"),
]


# --- The issuer, which tells the truth unless it is told to lie


class Issuer:
    def __init__(self) -> None:
        self.app = oidc_provider_mock.app()
        self.asked: list[dict[str, str]] = []  # for tokens
        self.lie: Callable[[dict[str, Any]], Any] | None = None
        self.hides_address = False
        self.other_person = ""
        self.app.before_request(self.hear)
        self.app.after_request(self.told)
        self.server = werkzeug.serving.make_server("localhost", 0, self.app, threaded=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://localhost:{self.server.server_port}"

    def hear(self) -> None:
        if flask.request.path == "/oauth2/token":
            self.asked.append(flask.request.form.to_dict())

    def told(self, response: flask.Response) -> flask.Response:
        if flask.request.path == "/oauth2/token" and response.is_json and "id_token" in response.get_json():
            body = response.get_json()
            claims = jwt.decode(body["id_token"], options={"verify_signature": False})
            if self.hides_address:
                claims = {name: value for name, value in claims.items() if not name.startswith("email")}
            response.set_data(flask.json.dumps(body | {"id_token": self.signed(claims)}))
        if flask.request.path == "/userinfo" and self.other_person:
            response.set_data(flask.json.dumps(response.get_json() | {"sub": self.other_person}))
        return response

    def signed(self, claims: dict[str, Any]) -> str:
        own = flask.g.oidc_provider_mock_storage.jwk
        key, kid = jwt.PyJWK(own.as_dict(is_private=True), "RS256").key, own.as_dict()["kid"]
        if self.lie is None:
            return jwt.encode(claims, key, "RS256", headers={"kid": kid})
        changed = self.lie(claims)
        if isinstance(changed, dict):
            return jwt.encode(changed, key, "RS256", headers={"kid": kid})
        return changed(claims, key, kid)

    def knows(self, sub: str, **claims: Any) -> str:
        told = {"email": f"{sub}@corp.example", "email_verified": True, "preferred_username": sub} | claims
        assert httpx.put(f"{self.address}/users/{sub}", json=told).status_code == 204
        return sub


@pytest.fixture(scope="module")
def the_issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.server.shutdown()


@pytest.fixture
def issuer(the_issuer) -> Issuer:
    the_issuer.lie, the_issuer.hides_address, the_issuer.other_person = None, False, ""
    the_issuer.asked.clear()
    return the_issuer


# --- The site


@pytest.fixture(scope="module")
def prepared(django_db_setup, django_db_blocker, the_issuer) -> Iterator[dict[str, str]]:
    """The tables of django-allauth are there only while single sign-on is on: they must not stand in the way of the
    other tests, which empty ours."""
    with django_db_blocker.unblock():
        environment = os.environ | {
            "DATABASE_URL": database_url(), "DATABASE_POOL": "0", "DEBUG": "true", "OIDC_ISSUER": the_issuer.address,
            "OIDC_CLIENT_ID": CLIENT, "OIDC_CLIENT_SECRET": "shared", "OIDC_NAME": "Corp login",
            "OIDC_DOMAINS": "corp.example", "LOG_LEVEL": "WARNING",
        }  # fmt: skip
        connection.close()
        manage("migrate", environment)
        with connection.cursor() as cursor:
            cursor.execute(FOREIGN_KEYS)
            for table, name in cursor.fetchall():
                cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        connection.close()
    yield environment
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {TABLES} CASCADE")
        cursor.execute("DELETE FROM django_migrations WHERE app IN ('account', 'socialaccount')")


def manage(command: str, environment: dict[str, str], *more: str) -> str:
    asked = [sys.executable, "manage.py", command, *more]
    ran = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


@contextmanager
def site(environment: dict[str, str]) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "granian", "annotate.wsgi:application", "--interface", "wsgi", "--port", str(port),
               "--workers", "1", "--blocking-threads", "4", "--log-level", "warning", "--no-access-log"]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        assert soon(lambda: is_there(port), 60)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(30)


def is_there(port: int) -> bool:
    try:
        return httpx.get(f"http://localhost:{port}/login", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def strict(prepared) -> Iterator[str]:
    with site(prepared | {"OIDC_ADMIN_GROUP": "raters-admin"}) as address:
        yield address


@pytest.fixture(scope="module")
def open_to_all(prepared) -> Iterator[str]:
    """All that can be loosened is, and passwords are off."""
    loose = {"OIDC_SIGNUP": "true", "OIDC_LINK_BY_EMAIL": "true", "OIDC_DOMAINS": "", "PASSWORD_LOGIN": "false"}
    with site(prepared | loose) as address:
        yield address


@pytest.fixture(autouse=True)
def _nobody_known(prepared, transactional_db) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM socialaccount_socialaccount")


class Browser(httpx.Client):
    def __init__(self, address: str) -> None:
        super().__init__(base_url=address, timeout=30)

    def form(self, page: str, **values: str) -> dict[str, str]:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(page).text)
        assert token
        return {"csrfmiddlewaretoken": token[1], **values}

    def go(self, page: str = "/login", onward: str = "", **values: str) -> str:
        """Where the issuer is asked."""
        answer = self.post("/sso", data=self.form(page, **values), params={"next": onward} if onward else None)
        assert answer.status_code == 200, answer.text
        found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', answer.text)
        assert found
        return html.unescape(found[1])

    def sign_on(self, sub: str, page: str = "/login", onward: str = "", **values: str) -> httpx.Response:
        return self.get(agreed(self.go(page, onward, **values), sub))

    def log_in(self, username: str) -> None:
        """By a link: the tests hash passwords as no site does."""
        assert self.get(login_link(User.objects.get(username=username))).status_code == 302

    @property
    def who(self) -> str:
        found = re.search(r'You log in as <b class="break">([^<]+)</b>', self.get("/account").text)
        return found[1] if found else ""


def agreed(there: str, sub: str) -> str:
    """What somebody does at the issuer; then it sends their browser back."""
    back = httpx.post(there, data={"sub": sub})
    assert back.status_code == 302, back.text
    return back.headers["Location"]


def told(answer: httpx.Response) -> str:
    found = re.search(r"<h1>You are not logged in</h1>\s*<p>([^<]*)</p>", answer.text)
    assert found, answer.text
    return html.unescape(found[1])


# --- Getting in


def test_who_is_invited_joins_by_it_and_is_known_from_then_on(strict, issuer):
    project = make_project()
    _, secret = Invitation.issue(project, Role.LEAD, make_member(project, Role.ADMIN))
    issuer.knows("ana", name="Ana Lovelace", email="Ana@Corp.example")
    browser = Browser(strict)
    page = browser.get(f"/invited/{secret}")
    assert "Join with Corp login" in page.text
    came = browser.sign_on("ana", f"/invited/{secret}", invitation=secret)
    assert (came.status_code, came.headers["Location"]) == (302, project.get_absolute_url())
    user = User.objects.get(username="ana")
    assert (user.email, user.get_full_name(), user.has_usable_password()) == ("Ana@Corp.example", "Ana Lovelace", False)
    assert user.role_in(project) == Role.LEAD
    assert not user.is_superuser
    assert browser.who == "ana"
    again = Browser(strict)
    assert again.sign_on("ana", onward="/account").headers["Location"] == "/account"
    assert again.who == "ana"
    assert User.objects.filter(username__startswith="ana").count() == 1
    late = Browser(strict)
    issuer.knows("late")
    refused = late.get(agreed(late.go(invitation=secret), "late"))
    assert (refused.status_code, "was used" in told(refused)) == (403, True)


def test_the_way_is_protected_by_state_nonce_and_pkce(strict, issuer):
    make_user("ana")
    issuer.knows("ana")
    browser = Browser(strict)
    browser.log_in("ana")
    there = browser.go("/account", connect="1")
    asked = {name: value for name, [value] in parse_qs(urlsplit(there).query).items()}
    assert {"state", "nonce", "code_challenge"} <= set(asked)
    assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")
    assert asked["redirect_uri"] == f"{strict}/sso/back"
    browser.get(agreed(there, "ana"))
    [exchange] = issuer.asked
    proof = base64.urlsafe_b64encode(hashlib.sha256(exchange["code_verifier"].encode()).digest()).decode().rstrip("=")
    assert proof == asked["code_challenge"]


def test_somebody_with_a_password_connects_once_and_comes_in_either_way(strict, issuer):
    make_user("ana")
    issuer.knows("a.lovelace")
    browser = Browser(strict)
    browser.log_in("ana")
    assert "Connect Corp login" in browser.get("/account").text
    assert browser.sign_on("a.lovelace", "/account", "/account", connect="1").headers["Location"] == "/account"
    assert "You can log in with it." in browser.get("/account").text
    other = Browser(strict)
    other.sign_on("a.lovelace")
    assert other.who == "ana"
    make_user("eve")
    eve = Browser(strict)
    eve.log_in("eve")
    assert "belongs to somebody else" in told(eve.sign_on("a.lovelace", "/account", connect="1"))
    assert Event.objects.filter(verb="single sign-on connected").count() == 1


def test_the_session_is_new_short_and_ends_by_logging_out(strict, issuer):
    make_user("ana")
    issuer.knows("ana")
    browser = Browser(strict)
    browser.log_in("ana")
    browser.sign_on("ana", "/account", connect="1")
    fresh = Browser(strict)
    there = fresh.go()
    before = fresh.cookies["sessionid"]
    came = fresh.get(agreed(there, "ana"))
    assert fresh.cookies["sessionid"] != before
    [cookie] = [line for line in came.headers.get_list("set-cookie") if line.startswith("sessionid=")]
    assert ("HttpOnly" in cookie, "SameSite=Lax" in cookie, "Max-Age=43200" in cookie) == (True, True, True)
    stolen = Browser(strict)
    stolen.cookies.set("sessionid", before, domain="localhost.local")
    assert stolen.who == ""
    out = fresh.post("/logout", data=fresh.form("/account"))
    assert out.headers["Location"] == "/login"
    assert "With Corp login you may be logged in still." in fresh.get("/login").text
    assert fresh.who == ""


@pytest.mark.parametrize("onward", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_it_never_leads_to_another_site(strict, issuer, onward):
    make_user("ana")
    issuer.knows("ana")
    browser = Browser(strict)
    browser.log_in("ana")
    assert browser.sign_on("ana", "/account", onward, connect="1").headers["Location"] == "/"
    assert Browser(strict).sign_on("ana", onward=onward).headers["Location"] == "/"


def test_the_group_makes_site_admins_and_takes_back_what_it_gave(strict, issuer):
    make_user("ana")
    make_user("root", is_superuser=True, is_staff=True)
    for name in ("ana", "root"):
        issuer.knows(name, groups=["raters-admin"])
        browser = Browser(strict)
        browser.log_in(name)
        browser.sign_on(name, "/account", connect="1")
        Browser(strict).sign_on(name)
    assert User.objects.get(username="ana").is_superuser
    for name in ("ana", "root"):
        issuer.knows(name, groups=["others"])
        Browser(strict).sign_on(name)
    assert not User.objects.get(username="ana").is_superuser
    assert User.objects.get(username="root").is_superuser


# --- Not getting in


@pytest.mark.parametrize(("claims", "why"), [
    ({"email_verified": False}, "does not say that your e-mail address is verified"),
    ({"email": ""}, "does not say that your e-mail address is verified"),
    ({"email": "ana@evil.example"}, "Addresses at evil.example are not let in"),
    ({"email": "ana@corp.example@evil.example"}, "Addresses at evil.example are not let in"),
    ({"email": "ana@sub.corp.example"}, "Addresses at sub.corp.example are not let in"),
    ({}, "Nobody here is known by that account"),
])  # fmt: skip
def test_who_is_turned_away_is_told_why(strict, issuer, claims, why):
    make_user("ana", email="ana@corp.example")  # of the same name and address: that is not enough
    issuer.knows("ana", **claims)
    browser = Browser(strict)
    refused = browser.sign_on("ana")
    assert (refused.status_code, why in told(refused)) == (403, True)
    assert browser.who == ""
    assert User.objects.count() == 1


def test_who_was_switched_off_stays_out(strict, issuer):
    user = make_user("ana")
    issuer.knows("ana")
    browser = Browser(strict)
    browser.log_in("ana")
    browser.sign_on("ana", "/account", connect="1")
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert browser.who == "", "Whoever is in is out."
    assert "switched off" in told(Browser(strict).sign_on("ana"))


def test_a_way_back_counts_once_in_one_browser_and_for_a_while(strict, issuer):
    make_user("ana")
    issuer.knows("ana")
    browser = Browser(strict)
    browser.log_in("ana")
    browser.sign_on("ana", "/account", connect="1")
    mine = Browser(strict)
    back = agreed(mine.go(), "ana")
    assert "This attempt is over" in told(Browser(strict).get(back)), "in another browser"
    assert mine.get(back).status_code == 302
    assert "This attempt is over" in told(mine.get(back)), "a second time"
    for address in ("/sso/back", "/sso/back?state=x&code=y", "/sso/back?error=access_denied", "/sso/back?state=%00"):
        assert Browser(strict).get(address).status_code == 403


def test_somebody_elses_way_back_connects_nothing(strict, issuer):
    """Eve wants Ana, who is logged in, to connect what Eve signs on with."""
    make_user("ana")
    make_user("eve")
    issuer.knows("evil")
    eve, ana = Browser(strict), Browser(strict)
    eve.log_in("eve")
    ana.log_in("ana")
    back = agreed(eve.go("/account", connect="1"), "evil")
    assert "This attempt is over" in told(ana.get(back))
    assert "Connect Corp login" in ana.get("/account").text


def none(claims: dict[str, Any], key: Any, kid: str) -> str:
    return jwt.encode(claims, None, "none", headers={"kid": kid})


def by_the_public_key(claims: dict[str, Any], key: Any, kid: str) -> str:
    """Read as a shared secret: the oldest trick of all."""
    return jwt.encode(claims, b"anything that is long enough to be a key of HMAC", "HS256", headers={"kid": kid})


def by_another(claims: dict[str, Any], key: Any, kid: str) -> str:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return jwt.encode(claims, rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": kid})


@pytest.mark.parametrize("lie", [
    lambda told: told | {"nonce": "another"},
    lambda told: {name: value for name, value in told.items() if name != "nonce"},
    lambda told: told | {"aud": "another-site"},
    lambda told: told | {"aud": [CLIENT, "another-site"], "azp": "another-site"},
    lambda told: told | {"iss": "https://evil.example"},
    lambda told: told | {"exp": int(time.time()) - 3600},
    lambda told: told | {"iat": int(time.time()) + 3600},
    lambda told: {name: value for name, value in told.items() if name != "sub"},
    lambda _: none, lambda _: by_the_public_key, lambda _: by_another,
    lambda _: lambda *_: "no token at all",
], ids=[
    "nonce", "no nonce", "aud", "azp", "iss", "exp", "iat", "no sub", "none", "hmac", "another key", "junk",
])  # fmt: skip
def test_a_token_that_is_not_for_us_is_not_believed(strict, issuer, lie):
    make_user("ana")
    issuer.knows("ana")
    browser = Browser(strict)
    browser.log_in("ana")
    browser.sign_on("ana", "/account", connect="1")
    issuer.lie = lie
    guest = Browser(strict)
    refused = guest.sign_on("ana")
    assert (refused.status_code, "answered what cannot be accepted" in told(refused)) == (403, True)
    assert guest.who == ""


def test_a_clock_that_differs_by_some_seconds_is_no_lie(strict, issuer):
    make_user("ana")
    issuer.knows("ana")
    browser = Browser(strict)
    browser.log_in("ana")
    issuer.lie = lambda told: told | {"iat": int(time.time()) + 20}
    assert browser.sign_on("ana", "/account", connect="1").status_code == 302


def test_an_issuer_with_a_single_key_need_not_name_it(open_to_all, issuer):
    issuer.knows("ana")
    issuer.lie = lambda told: lambda claims, key, kid: jwt.encode(claims, key, "RS256")
    assert Browser(open_to_all).sign_on("ana").status_code == 302
    assert User.objects.get().username == "ana"


def test_an_address_told_apart_is_believed_of_the_same_person_alone(open_to_all, issuer):
    issuer.knows("ana")
    issuer.hides_address = True
    browser = Browser(open_to_all)
    assert browser.sign_on("ana").status_code == 302
    assert User.objects.get().email == "ana@corp.example"
    issuer.other_person = "eve"
    assert "answered what cannot be accepted" in told(Browser(open_to_all).sign_on("ana"))


def test_an_issuer_that_is_down_is_a_sentence(prepared):
    """The site starts all the same: whoever has a password gets in."""
    with site(prepared | {"OIDC_ISSUER": f"http://localhost:{free_port()}"}) as address:
        browser = Browser(address)
        answer = browser.post("/sso", data=browser.form("/login"))
        assert (answer.status_code, told(answer)) == (
            503, "Corp login cannot be reached just now. Try again in a moment.",
        )  # fmt: skip


def test_the_way_there_begins_with_a_form_of_ours(strict):
    assert Browser(strict).get("/sso").status_code == 405
    assert Browser(strict).post("/sso").status_code == 403
    policy = Browser(strict).get("/login").headers["Content-Security-Policy"]
    assert "form-action 'self'" in policy
    assert "http" not in policy


# --- Loosened


def test_strangers_may_sign_up_where_the_site_says_so_and_take_nobodys_name(open_to_all, issuer):
    make_user("ana")
    issuer.knows("ana", email="other@evil.example")
    browser = Browser(open_to_all)
    assert browser.sign_on("ana").headers["Location"] == "/"
    assert browser.who == "ana-2"
    issuer.knows("odd", preferred_username="<b>\0 x/../é", email="odd@corp.example")
    odd = Browser(open_to_all)
    odd.sign_on("odd")
    assert re.fullmatch(r"[\w.@+-]+", odd.who)


def test_an_address_finds_the_one_person_who_has_it_and_only_once(open_to_all, issuer):
    make_user("boss", email="Boss@corp.example")
    issuer.knows("b1", email="boss@corp.example")
    browser = Browser(open_to_all)
    browser.sign_on("b1")
    assert browser.who == "boss"
    issuer.knows("b2", email="boss@corp.example")
    second = Browser(open_to_all)
    second.sign_on("b2")
    assert second.who != "boss", "Another subject with that address is another person."
    make_user("one", email="two@corp.example")
    make_user("two", email="two@corp.example")
    issuer.knows("b3", email="two@corp.example")
    third = Browser(open_to_all)
    third.sign_on("b3")
    assert third.who not in {"one", "two"}


def test_nobody_gives_themselves_an_address_where_it_lets_people_in(settings):
    settings.OIDC_LINK_BY_EMAIL = True
    form = ProfileForm({"first_name": "Eve", "email": "boss@corp.example"}, instance=make_user("eve", email="e@x.org"))
    assert form.is_valid()
    assert form.save().email == "e@x.org"


def test_without_passwords_there_is_the_button_and_the_one_time_link(open_to_all, prepared):
    user = make_user("ana")
    browser = Browser(open_to_all)
    page = browser.get("/login").text
    assert 'name="password"' not in page
    assert "Log in with Corp login" in page
    tried = browser.post("/login", data=browser.form("/login", username="ana", password=PASSWORD))
    assert (tried.status_code, browser.who) == (200, "")
    project = make_project()
    _, secret = Invitation.issue(project, Role.REVIEWER, make_member(project, Role.ADMIN))
    own = {"username": "eve", "password1": "a much better one", "password2": "a much better one"}
    browser.post(f"/invited/{secret}", data=browser.form(f"/invited/{secret}", **own))
    assert not User.objects.filter(username="eve").exists()
    link = manage("login_link", prepared | {"SITE_URL": open_to_all}, "ana").split()[-1]
    assert link.startswith(open_to_all)
    assert browser.get(urlsplit(link).path).status_code == 302
    assert browser.who == "ana"
    assert browser.get("/account").text.count('type="password"') == 0
    assert browser.post("/account/password", data=browser.form("/account")).status_code == 403
    user.refresh_from_db()
    assert user.last_login > timezone.now() - timedelta(minutes=5)
    assert login_link(user)


# --- What it brings along


LIST = """
from django.urls import get_resolver, URLResolver
def walk(r, before=""):
    for e in r.url_patterns:
        yield from walk(e, before + str(e.pattern)) if isinstance(e, URLResolver) else [before + str(e.pattern)]
print("\\n".join(walk(get_resolver())))
"""


def test_it_brings_two_addresses_and_one_list_for_site_admins(prepared):
    off = {name: value for name, value in prepared.items() if not name.startswith("OIDC_")}
    routes = [set(manage("shell", given, "--no-imports", "-c", LIST).split()) for given in (prepared, off)]
    more = {route for route in routes[0] - routes[1] if "admin/socialaccount/socialaccount/" not in route}
    assert {route for route in more if not route.startswith("admin/^(")} == {"sso", "sso/back"}


@pytest.mark.parametrize(("given", "words"), [
    ({"issuer": "http://login.example.org"}, "must be an address that begins with https"),
    ({"client_id": ""}, "OIDC_CLIENT_ID is not"),
    ({"issuer": "", "password_login": False}, "nobody could log in"),
    ({}, ""), ({"issuer": "", "client_id": ""}, ""), ({"issuer": "http://127.0.0.1:9000"}, ""),
])  # fmt: skip
def test_settings_that_cannot_be_are_told_in_a_sentence(given, words):
    asked = {"issuer": "https://login.example.org", "client_id": CLIENT, "password_login": True} | given
    problem = sign_on_settings.problem(**asked)
    assert words in problem
    assert bool(words) == bool(problem)


def test_a_missing_package_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setattr(sign_on_settings, "find_spec", lambda name: None)
    assert "pip install -e '.[sso]'" in sign_on_settings.problem("https://login.example.org", CLIENT, True)
    assert sign_on_settings.problem("", "", True) == ""


def test_the_site_does_not_start_with_settings_that_cannot_be(prepared):
    ran = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, capture_output=True, text=True,
        env=prepared | {"OIDC_CLIENT_ID": ""},
    )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr.strip().startswith("OIDC_ISSUER is set and OIDC_CLIENT_ID is not")


def test_another_issuer_knows_other_people():
    one, other = (sign_on_settings.known_as(f"https://{name}.example.org") for name in ("one", "other"))
    assert one != other
    assert one == sign_on_settings.known_as("https://one.example.org/")
