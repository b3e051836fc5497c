"""How often: logging in, the API, questions to a model; over several workers, and without harm to colleagues."""

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from annotate import api, guessing
from annotate.models import Allowance, ApiToken, Role
from annotate.operating import limits
from annotate.operating.limits import Limit, TooFast
from tests.make import PASSWORD, make_member, make_project, make_user

THREE = Limit("test", 3, 60, "tries")


def use(limit: Limit, who: object, times: int) -> int:
    """How many of them were allowed."""
    allowed = 0
    for _ in range(times):
        try:
            limits.spend(limit, who)
            allowed += 1
        except TooFast:
            pass
    return allowed


def later(seconds: float) -> None:
    for row in Allowance.objects.all():
        Allowance.objects.filter(pk=row.pk).update(full_at=row.full_at - timedelta(seconds=seconds))


@pytest.mark.django_db
class TestALimit:
    def test_is_so_many_and_each_has_their_own(self):
        assert use(THREE, "ana", 5) == 3
        assert use(THREE, "ben", 1) == 1
        assert use(Limit("other", 3, 60, "tries"), "ana", 1) == 1

    @pytest.mark.parametrize("most", [1, 7, 60, 600, 997])
    def test_is_met_to_the_last_whatever_the_number(self, most):
        limit = Limit("test", most, 60, "tries")
        limits.spend(limit, "ana", most - 1) if most > 1 else None
        assert use(limit, "ana", 2) == 1

    def test_comes_back_bit_by_bit_and_says_when(self):
        use(THREE, "ana", 3)
        with pytest.raises(TooFast, match=r"more than 3 tries a minute\. Ask again in") as refusal:
            limits.spend(THREE, "ana")
        assert 1 <= refusal.value.seconds <= 20
        later(refusal.value.seconds)
        assert use(THREE, "ana", 3) == 1

    def test_takes_nothing_from_whom_it_refuses(self):
        use(THREE, "ana", 3)
        before = Allowance.objects.get().full_at
        assert use(THREE, "ana", 50) == 0
        assert Allowance.objects.get().full_at == before

    def test_after_a_pause_is_as_it_was(self):
        use(THREE, "ana", 3)
        later(3600)
        assert use(THREE, "ana", 9) == 3

    def test_of_nought_is_none(self):
        assert use(Limit("test", 0, 60, "tries"), "ana", 100) == 100
        limits.heed(Limit("test", 0, 60, "tries"), "ana")
        assert not Allowance.objects.exists()

    def test_may_be_looked_at_without_using_it(self):
        for _ in range(9):
            limits.heed(THREE, "ana", 3)
        use(THREE, "ana", 2)
        limits.heed(THREE, "ana", 1)
        with pytest.raises(TooFast):
            limits.heed(THREE, "ana", 2)

    def test_says_that_waiting_does_not_help_who_asks_for_too_much_at_once(self):
        for door in (limits.spend, limits.heed):
            with pytest.raises(TooFast, match="Ask for fewer at once"):
                door(THREE, "ana", 4)

    def test_what_succeeded_is_given_back(self):
        for _ in range(20):
            limits.spend(THREE, "ana")
            limits.give_back(THREE, "ana")
        assert use(THREE, "ana", 5) == 3

    def test_holds_nobody_for_longer_than_its_period_though_the_clock_was_set_back(self):
        use(THREE, "ana", 3)
        Allowance.objects.update(full_at=timezone.now() + timedelta(days=3))
        with pytest.raises(TooFast) as refusal:
            limits.spend(THREE, "ana")
        assert refusal.value.seconds <= 60

    def test_keeps_no_names_and_no_rows_that_say_nothing(self):
        use(THREE, "ana\0\ud800" + "x" * 10_000, 1)
        assert "ana" not in Allowance.objects.get().key
        limits.forget()
        assert Allowance.objects.exists()
        later(3600)
        limits.forget()
        assert not Allowance.objects.exists()

    def test_is_one_statement_on_a_table_that_waits_for_no_disk(self, django_assert_num_queries):
        with django_assert_num_queries(1):
            limits.spend(THREE, "ana")
        with connection.cursor() as cursor:
            cursor.execute("SELECT relpersistence FROM pg_class WHERE relname = 'annotate_allowance'")
            assert cursor.fetchone() == ("u",)


@pytest.mark.django_db(transaction=True)
def test_of_a_hundred_that_come_at_once_by_several_connections_as_many_get_in_as_may():
    limit, allowed, together = Limit("test", 25, 3600, "tries"), [], threading.Barrier(4)

    def worker() -> None:
        together.wait()
        allowed.append(use(limit, "ana", 25))
        connections.close_all()

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == 25


# --- Logging in


def knock(client: Client, username: str, password: str = "wrong", address: str = "192.0.2.1") -> Any:
    return client.post("/login", {"username": username, "password": password}, REMOTE_ADDR=address)


@pytest.fixture
def few(settings):
    settings.LOGIN_FAILURES_PER_ADDRESS, settings.LOGIN_FAILURES_PER_NAME = 5, 4


@pytest.mark.django_db
class TestLogin:
    def test_of_one_address_over_many_names_ends(self, few):
        make_user("ana")
        answers = [knock(Client(), f"name{n}").status_code for n in range(6)]
        assert answers == [422] * 5 + [429]
        refused = knock(Client(), "ana", PASSWORD)
        assert refused.status_code == 429, "The right password is not looked at either."
        assert int(refused["Retry-After"]) > 0
        assert "Too many attempts" in refused.text
        assert knock(Client(), "ana", PASSWORD, "192.0.2.2").status_code == 302

    def test_of_one_name_over_many_addresses_ends(self, few):
        make_user("ana")
        answers = [knock(Client(), "ana", address=f"10.0.{n}.1").status_code for n in range(5)]
        assert answers == [422] * 4 + [429]
        assert knock(Client(), "ana", PASSWORD, "10.9.9.9").status_code == 429

    def test_a_home_of_many_addresses_is_one(self, few):
        answers = [knock(Client(), f"name{n}", address=f"2001:db8:1:2::{n:x}").status_code for n in range(6)]
        assert answers[-1] == 429
        assert knock(Client(), "name", address="2001:db8:1:3::1").status_code == 422

    def test_a_browser_that_somebody_logged_in_with_before_is_not_locked_out_by_strangers(self, few):
        make_user("ana")
        browser = Client()
        assert knock(browser, "ana", PASSWORD).status_code == 302
        browser.post("/logout")
        for n in range(9):
            knock(Client(), "ana", address=f"10.0.{n}.1")
            knock(Client(), f"name{n}")
        assert knock(Client(), "ana", PASSWORD).status_code == 429
        assert knock(browser, "ana", PASSWORD).status_code == 302

    def test_and_such_a_browser_is_counted_by_itself_and_for_that_person_alone(self, few, settings):
        settings.AXES_FAILURE_LIMIT = 99
        make_user("ana")
        browser = Client()
        knock(browser, "ana", PASSWORD)
        browser.post("/logout")
        assert [knock(browser, "ana").status_code for _ in range(5)] == [422] * 4 + [429]
        assert [knock(browser, f"name{n}").status_code for n in range(6)] == [422] * 5 + [429]

    def test_a_cookie_that_somebody_made_up_is_none(self, few):
        make_user("ana")
        browser = Client()
        browser.cookies[guessing.COOKIE] = json.dumps({"browser": "x", "people": [guessing.marked("ana")]})
        answers = [knock(browser, "ana", address=f"10.0.{n}.1").status_code for n in range(5)]
        assert answers[-1] == 429

    def test_the_cookie_names_nobody_and_is_kept_from_scripts(self):
        make_user("ana")
        cookie = knock(Client(), "ana", PASSWORD).cookies[guessing.COOKIE]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/login")
        assert "ana" not in cookie.value

    def test_who_gets_in_uses_nothing(self, few):
        make_user("ana")
        assert [knock(Client(), "ana", PASSWORD).status_code for _ in range(12)] == [302] * 12

    def test_whoever_finds_a_browser_open_does_not_guess_the_old_password(self):
        client = Client()
        user = make_user("ana")
        client.force_login(user)
        guess = {"old_password": "wrong", "new_password1": "a much better one", "new_password2": "a much better one"}
        answers = [client.post("/account/password", guess).status_code for _ in range(11)]
        assert answers == [422] * 10 + [302]
        client.post("/account/password", guess | {"old_password": PASSWORD})
        user.refresh_from_db()
        assert user.check_password(PASSWORD)


# --- The API


def ask(path: str, secret: str, method: str = "get", **data: Any) -> Any:
    return getattr(Client(), method)(path, headers={"Authorization": f"Bearer {secret}"}, **data)


@pytest.mark.django_db
class TestApi:
    @pytest.fixture
    def secret(self, settings) -> str:
        settings.API_PER_MINUTE = 12
        self.project = make_project()
        self.user = make_member(self.project, Role.ADMIN)
        return ApiToken.issue(self.user, "one")[1]

    def test_so_many_requests_of_a_person_by_whatever_token_or_browser(self, secret):
        other = ApiToken.issue(self.user, "two")[1]
        assert [ask("/api/projects", key).status_code for key in (secret, other) * 6] == [200] * 12
        refused = ask("/api/projects", other)
        assert refused.status_code == 429
        assert "more than 12 requests a minute" in refused.json()["detail"]
        assert 1 <= int(refused["Retry-After"]) <= 60
        browser = Client()
        browser.force_login(self.user)
        assert browser.get("/api/projects").status_code == 429
        assert browser.get(self.project.get_absolute_url()).status_code == 200, "Pages are not programs."
        colleague = ApiToken.issue(make_member(self.project), "hers")[1]
        assert ask("/api/projects", colleague).status_code == 200

    def test_an_upload_counts_as_ten_and_reviewing_as_one(self, secret):
        path = f"/api/projects/{self.project.slug}/posts"
        line = {"data": '{"text": "gm"}\n', "content_type": "application/x-ndjson"}
        assert ask(path, secret, "post", **line).status_code == 202
        for _ in range(2):
            following = ask(f"/api/projects/{self.project.slug}/queue/next", secret, "post", data="{}",
                            content_type="application/json")  # fmt: skip
            assert following.status_code == 200
        assert ask("/api/projects", secret).status_code == 429

    def test_a_limit_below_ten_still_lets_work_begin(self, secret, settings):
        settings.API_PER_MINUTE = 3
        path = f"/api/projects/{self.project.slug}/posts"
        line = {"data": '{"text": "gm"}\n', "content_type": "application/x-ndjson"}
        assert [ask(path, secret, "post", **line).status_code for _ in range(2)] == [202, 429]

    def test_guessed_tokens_are_counted_by_address(self, secret):
        assert [ask("/api/projects", "wrong").status_code for _ in range(13)] == [401] * 12 + [429]
        assert ask("/api/projects", secret).status_code == 200

    def test_the_form_of_openai_says_it_as_they_do(self, secret):
        answers = [ask("/v1/models", secret) for _ in range(13)]
        assert [answer.status_code for answer in answers] == [200] * 12 + [429]
        assert answers[-1].json()["error"]["code"] == "rate_limit_exceeded"
        assert int(answers[-1]["Retry-After"]) >= 1

    def test_it_stands_in_the_description_of_every_operation(self, client):
        client.force_login(make_user())
        told = client.get(reverse("api:openapi-json")).json()
        operations = [operation for path in told["paths"].values() for operation in path.values()]
        assert len(operations) > 50
        assert all("Retry-After" in operation["responses"]["429"]["headers"] for operation in operations)
        assert "600 times a minute" in told["info"]["description"]

    def test_what_counts_little_is_there(self):
        """A name that is changed must not make reviewing ten times as dear."""
        from tests.test_hostile import pages

        names = {entry.name for _, entry in pages()}
        assert names >= api.LIGHT

    def test_a_request_costs_one_statement_more(self, secret, django_assert_num_queries):
        request = RequestFactory().get("/api/projects")
        request.resolver_match = None
        with django_assert_num_queries(1):
            api.heed_pace(request, self.user)
