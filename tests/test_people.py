import re
from datetime import datetime, timedelta
from io import StringIO
from threading import Barrier, Thread

import pytest
from axes.models import AccessAttempt
from django.core.management import CommandError, call_command
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate import login_links, team
from annotate.login_links import login_link
from annotate.models import ApiToken, Event, Invitation, Membership, Role, User
from annotate.models.people import NotOpen, digest

from .make import PASSWORD, make_member, make_project, make_user

pytestmark = pytest.mark.django_db
NEW = {"username": "ana", "password1": "a quiet long sentence", "password2": "a quiet long sentence"}


@pytest.fixture
def project():
    return make_project("Memes")


@pytest.fixture
def admin(client, project):
    user = make_member(project, Role.ADMIN, "boss")
    client.force_login(user)
    return user


def user_of(client):
    return User.objects.filter(pk=client.session.get("_auth_user_id")).first()


def log_in(client, username, password=PASSWORD, next="", **headers):
    query = f"?next={next}" if next else ""
    return client.post(reverse("login") + query, {"username": username, "password": password}, **headers)


def told(response):
    return " ".join(str(message) for message in response.context["messages"])


def shown_secret(response):
    return re.search(r'<input id="secret" readonly value="([^"]+)"', response.text)[1]


def verbs():
    return list(Event.objects.order_by("id").values_list("verb", flat=True))


class TestLogin:
    def test_it_asks_whoever_is_not_logged_in_and_comes_back(self, client):
        make_user("ana")
        asked = client.get(reverse("account"))
        assert asked.url == "/login?next=/account"
        assert client.get(asked.url).status_code == 200
        assert log_in(client, "ana", next="/account").url == "/account"
        assert user_of(client).username == "ana"

    @pytest.mark.parametrize("bad", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/login?next=/"])
    def test_it_goes_on_only_to_pages_of_ours_and_never_in_a_circle(self, client, bad):
        make_user("ana")
        assert log_in(client, "ana", next=bad).url == "/"
        assert client.get(reverse("login"), {"next": bad}).url == "/"

    def test_it_says_why_it_refuses(self, client):
        make_user("gone", is_active=False)
        for username in ("nobody", "gone"):
            refused = log_in(client, username)
            assert refused.status_code == 422
            assert "Username and password do not match" in refused.text
        assert user_of(client) is None

    def test_it_changes_the_session_key(self, client):
        make_user("ana")
        session = client.session
        session["before"] = True
        session.save()
        log_in(client, "ana")
        assert client.session.session_key != session.session_key

    def test_eight_failures_close_the_door_for_that_name_and_address(self, client):
        make_user("ana")
        for _ in range(7):
            assert log_in(client, "ana", "wrong").status_code == 422
        closed = log_in(client, "ana", "wrong")
        assert closed.status_code == 429
        assert "30 minutes" in closed.text
        assert log_in(client, "ana").status_code == 429
        assert log_in(client, "ana", REMOTE_ADDR="10.0.0.9").status_code == 302

    def test_it_opens_again_after_half_an_hour(self, client):
        make_user("ana")
        for _ in range(8):
            log_in(client, "ana", "wrong")
        AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=31))
        assert log_in(client, "ana").status_code == 302

    def test_logging_out_takes_a_post_and_works_when_the_session_has_ended(self, client):
        client.force_login(make_user())
        assert client.get(reverse("logout")).status_code == 405
        assert client.post(reverse("logout")).url == "/login"
        assert user_of(client) is None
        assert client.post(reverse("logout")).url == "/login"

    def test_a_stale_form_is_explained(self):
        client = Client(enforce_csrf_checks=True)
        refused = client.post(reverse("login"), {"username": "ana"})
        assert refused.status_code == 403
        assert "reload the page" in refused.text


class TestLoginLink:
    def test_it_logs_in_once(self, client):
        link = login_link(make_user("ana"))
        assert client.get(link).url == "/"
        assert user_of(client).username == "ana"
        other = Client()
        spent = other.get(link)
        assert spent.status_code == 410
        assert "manage.py login_link" in spent.text
        assert user_of(other) is None

    def test_it_works_once_even_within_the_second_of_an_earlier_login(self, client):
        user = make_user("ana")
        for _ in range(3):
            user.refresh_from_db()
            link = login_link(user)
            assert client.get(link).status_code == 302
            assert Client().get(link).status_code == 410

    def test_it_ends_after_an_hour(self, client, monkeypatch):
        link = login_link(make_user("ana"))
        late = datetime.now() + timedelta(hours=1, seconds=2)  # the generator's clock is naive
        monkeypatch.setattr(login_links.tokens, "_now", lambda: late)
        assert client.get(link).status_code == 410

    def test_it_ends_when_the_password_changes_or_the_account_is_switched_off(self, client):
        user = make_user("ana")
        link = login_link(user)
        user.set_password("another long sentence")
        user.save()
        assert client.get(link).status_code == 410
        link = login_link(user)
        User.objects.update(is_active=False)
        assert client.get(link).status_code == 410

    @pytest.mark.parametrize(
        ("uid", "token"), [("x", "y"), ("9" * 30, "a-b"), ("1", "no"), ("-1", "!-!"), ("²", "a-b"), ("1", "-")]
    )
    def test_nonsense_is_a_spent_link(self, client, uid, token):
        assert client.get(reverse("login_once", args=[uid, token])).status_code == 410

    def test_it_is_not_used_up_by_a_program_that_only_looks(self, client):
        link = login_link(make_user("ana"))
        assert client.head(link).status_code == 405
        assert client.get(link).status_code == 302

    def test_who_has_no_password_is_pointed_to_the_account_page(self, client):
        user = User.objects.create_superuser("admin")
        page = client.get(login_link(user), follow=True)
        assert "You have no password yet" in page.text
        assert 'href="/account"' in page.text

    def test_the_command_prints_it_for_somebody_or_the_first_site_admin(self, client, settings):
        make_user("ana")
        User.objects.create_superuser("admin")
        for arguments, username in (["ana"], "ana"), ([], "admin"):
            out = StringIO()
            call_command("login_link", *arguments, stdout=out, stderr=StringIO())
            link = out.getvalue().strip()
            assert link.startswith(settings.SITE_URL)
            client.get(link.removeprefix(settings.SITE_URL))
            assert user_of(client).username == username

    @pytest.mark.parametrize("arguments", [["nobody"], []])
    def test_the_command_says_what_to_do_where_there_is_nobody(self, arguments):
        with pytest.raises(CommandError, match="createsuperuser"):
            call_command("login_link", *arguments)


class TestAccount:
    def test_it_saves_name_and_email(self, client):
        client.force_login(make_user("ana"))
        data = {"first_name": "Ana", "last_name": "Lima", "email": "ana@example.org"}
        page = client.post(reverse("account"), data, follow=True)
        assert told(page) == "Saved."
        assert User.objects.get().get_full_name() == "Ana Lima"

    def test_it_shows_what_it_refuses(self, client):
        client.force_login(make_user("ana", first_name="Ana"))
        refused = client.post(reverse("account"), {"first_name": "Bea", "email": "nonsense"})
        assert refused.status_code == 422
        assert "valid email" in refused.text
        assert "<summary>Ana</summary>" in refused.text

    def test_a_password_change_asks_for_the_old_one_and_ends_other_sessions(self, client):
        user = make_user("ana")
        client.force_login(user)
        other = Client()
        other.force_login(user)
        data = {"old_password": "wrong", "new_password1": "a quiet long sentence", "new_password2": NEW["password2"]}
        assert client.post(reverse("password"), data).status_code == 422
        assert client.post(reverse("password"), data | {"old_password": PASSWORD}).url == "/account"
        assert user_of(client).check_password(NEW["password1"])
        assert client.get(reverse("account")).status_code == 200
        assert other.get(reverse("account")).status_code == 302

    def test_who_has_no_password_sets_one(self, client):
        client.force_login(User.objects.create_superuser("admin"))
        assert "Set the password" in client.get(reverse("account")).text
        short = client.post(reverse("password"), {"new_password1": "short", "new_password2": "short"})
        assert "at least 10 characters" in short.text
        client.post(reverse("password"), {"new_password1": NEW["password1"], "new_password2": NEW["password2"]})
        assert User.objects.get().check_password(NEW["password1"])

    def test_a_token_is_shown_once_and_stored_as_a_digest(self, client):
        user = make_user("ana")
        client.force_login(user)
        made = client.post(reverse("token_new"), {"name": "laptop"})
        secret = shown_secret(made)
        assert "no-store" in made["Cache-Control"]
        assert user.api_tokens.get().digest == digest(secret)
        assert secret not in client.get(reverse("account")).text
        assert verbs() == ["token made"]
        assert secret not in str(Event.objects.get().data)

    def test_a_token_needs_a_name(self, client):
        client.force_login(make_user())
        assert client.post(reverse("token_new"), {"name": ""}).status_code == 422
        assert client.get(reverse("token_new")).url == "/account"

    def test_one_revokes_ones_own_tokens_only(self, client):
        mine, theirs = (ApiToken.issue(make_user(), "x")[0] for _ in range(2))
        client.force_login(mine.user)
        assert client.post(reverse("token_revoke", args=[theirs.pk])).status_code == 404
        client.post(reverse("token_revoke", args=[mine.pk]))
        assert list(ApiToken.objects.all()) == [theirs]
        assert verbs() == ["token revoked"]


class TestPeoplePage:
    def test_it_lists_members_and_open_invitations(self, client, project, admin):
        make_member(project, username="rita", first_name="Rita")
        team.invite(project, Role.LEAD, admin, "for Leo")
        gone, _ = Invitation.issue(project, Role.LEAD, admin, "expired one")
        Invitation.objects.filter(pk=gone.pk).update(expires=timezone.now())
        page = client.get(reverse("people", args=[project.slug])).text
        assert "Rita" in page
        assert "for Leo" in page
        assert "expired one" not in page

    def test_it_costs_the_same_however_many_there_are(self, client, project, admin, django_assert_max_num_queries):
        for _ in range(10):
            make_member(project)
            Invitation.issue(project, Role.LEAD, make_user())
        with django_assert_max_num_queries(12):
            client.get(reverse("people", args=[project.slug]))

    def test_an_invitation_is_a_link_shown_once(self, client, project, admin):
        made = client.post(reverse("invite", args=[project.slug]), {"role": "lead", "note": "Leo"})
        link = shown_secret(made)
        assert link.startswith("http://testserver/invited/")
        assert "no-store" in made["Cache-Control"]
        assert Invitation.objects.get().digest == digest(link.rsplit("/", 1)[1])
        assert link not in client.get(reverse("people", args=[project.slug])).text
        assert verbs() == ["invited"]

    def test_an_unknown_role_is_refused(self, client, project, admin):
        assert client.post(reverse("invite", args=[project.slug]), {"role": "king"}).status_code == 422
        member = admin.memberships.get()
        refused = client.post(reverse("role_change", args=[project.slug, member.pk]), {"role": "king"})
        assert refused.status_code == 400

    def test_an_invitation_can_be_withdrawn_until_it_is_used(self, client, project, admin):
        secret = team.invite(project, Role.LEAD, admin)
        address = reverse("invitation_revoke", args=[project.slug, Invitation.objects.get().pk])
        client.post(address)
        assert Client().get(reverse("invited", args=[secret])).status_code == 404
        assert client.post(address).status_code == 404
        assert verbs() == ["invited", "invitation withdrawn"]

    def test_nothing_of_another_project_can_be_touched(self, client, project, admin):
        other = make_project()
        member = make_member(other).memberships.get()
        invitation, _ = Invitation.issue(other, Role.LEAD, admin)
        for name, pk in ("role_change", member.pk), ("member_remove", member.pk), ("invitation_revoke", invitation.pk):
            assert client.post(reverse(name, args=[project.slug, pk]), {"role": "admin"}).status_code == 404
        member.refresh_from_db()
        assert member.role == Role.REVIEWER

    def test_a_role_is_changed(self, client, project, admin):
        rita = make_member(project, username="rita")
        page = change(client, rita, "lead")
        assert told(page) == "rita is now lead."
        assert rita.role_in(project) == Role.LEAD
        assert Event.objects.get().data["role"] == "reviewer to lead"

    def test_a_member_is_removed(self, client, project, admin):
        rita = make_member(project, username="rita")
        page = remove(client, rita)
        assert "rita is no longer in Memes" in told(page)
        assert rita.role_in(project) is None
        assert Event.objects.get().data["who"] == "rita"

    def test_the_last_admin_stays(self, client, project, admin):
        make_member(project, Role.ADMIN, is_active=False)
        for page in change(client, admin, "lead"), remove(client, admin):
            assert "boss is the last admin of Memes. Make somebody else an admin first" in told(page)
        assert admin.role_in(project) == Role.ADMIN
        assert verbs() == []

    def test_a_site_admin_may_remove_even_the_last_one(self, client, project, admin):
        client.force_login(make_user("root", is_superuser=True))
        remove(client, admin)
        assert not project.memberships.exists()

    def test_whoever_steps_down_is_led_to_a_page_that_is_open_to_them(self, client, project, admin):
        make_member(project, Role.ADMIN)
        assert change(client, admin, "lead").redirect_chain[0][0] == project.get_absolute_url()
        Membership.objects.filter(user=admin).update(role=Role.ADMIN)
        assert remove(client, admin).redirect_chain[0][0] == "/"

    def test_open_invitations_of_an_admin_who_is_removed_are_no_way_back(self, client, project, admin):
        other = make_member(project, Role.ADMIN)
        secret = team.invite(project, Role.ADMIN, other)
        remove(client, other)
        assert Client().get(reverse("invited", args=[secret])).status_code == 404


def change(client, user, role):
    member = user.memberships.get()
    return client.post(reverse("role_change", args=[member.project.slug, member.pk]), {"role": role}, follow=True)


def remove(client, user):
    member = user.memberships.get()
    return client.post(reverse("member_remove", args=[member.project.slug, member.pk]), follow=True)


class TestInvited:
    @pytest.fixture
    def address(self, project):
        secret = team.invite(project, Role.LEAD, make_member(project, Role.ADMIN, "boss"))
        return reverse("invited", args=[secret])

    def test_a_newcomer_chooses_a_name_and_a_password(self, client, project, address):
        assert "Join Memes" in client.get(address).text
        assert client.post(address, NEW).url == project.get_absolute_url()
        assert user_of(client).username == "ana"
        assert user_of(client).role_in(project) == Role.LEAD
        assert Invitation.objects.get().used_by == user_of(client)
        assert verbs() == ["invited", "joined"]

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"password1": "12345", "password2": "12345"}, "at least 10 characters"),
            ({"password2": "something else"}, "didn’t match"),
            ({"username": "BOSS"}, "already exists"),
        ],
    )
    def test_what_cannot_be_accepted_leaves_the_invitation_open(self, client, address, change, why):
        refused = client.post(address, NEW | change)
        assert refused.status_code == 422
        assert why in refused.text
        assert Invitation.objects.open().exists()
        assert user_of(client) is None

    def test_somebody_with_an_account_logs_in_and_accepts(self, client, project, address):
        ana = make_user("ana")
        assert f"/login?next={address}" in client.get(address).text
        assert log_in(client, "ana", next=address).url == address
        assert "You are logged in as" in client.get(address).text
        assert ana.role_in(project) is None
        assert client.post(address).url == project.get_absolute_url()
        assert ana.role_in(project) == Role.LEAD

    def test_a_reviewer_rises(self, client, project, address):
        rita = make_member(project, Role.REVIEWER)
        client.force_login(rita)
        client.post(address)
        assert rita.role_in(project) == Role.LEAD

    def test_who_gains_nothing_does_not_use_it_up(self, client, project, address):
        client.force_login(make_member(project, Role.ADMIN))
        for page in client.get(address), client.post(address):
            assert "already admin in this project" in page.text
        assert Invitation.objects.open().exists()

    def test_used_expired_and_unknown_ones_say_so(self, client, address):
        client.post(address, NEW)
        late = Client()
        used = late.post(address, NEW | {"username": "late"})
        assert used.status_code == 410
        assert "has been used" in used.text
        Invitation.objects.update(used_at=None, expires=timezone.now())
        expired = late.get(address)
        assert expired.status_code == 410
        assert "has expired" in expired.text
        assert late.get(reverse("invited", args=["unknown"])).status_code == 404
        assert not User.objects.filter(username="late").exists()


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_of_two_newcomers_with_one_link_one_gets_in(self, project):
        secret = team.invite(project, Role.LEAD, make_user("boss"))
        invitation = Invitation.objects.by_secret(secret)

        def arrive(name):
            try:
                team.join(invitation, lambda: make_user(name))
                return "in"
            except NotOpen:
                return "too late"

        assert sorted(at_once(lambda: arrive("ana"), lambda: arrive("bea"))) == ["in", "too late"]
        assert project.memberships.count() == 1
        assert User.objects.filter(username__in=["ana", "bea"]).count() == 1

    def test_of_two_admins_who_remove_each_other_one_stays(self, project):
        first, second = (make_member(project, Role.ADMIN) for _ in range(2))

        def remove_other(by, other):
            try:
                team.remove(other.memberships.select_related("user", "project").get(), by)
                return "removed"
            except team.LastAdmin:
                return "refused"

        told = at_once(lambda: remove_other(first, second), lambda: remove_other(second, first))
        assert sorted(told) == ["refused", "removed"]
        assert project.memberships.count() == 1

    def test_of_two_clicks_on_a_login_link_one_logs_in(self):
        link = login_link(make_user("ana"))
        clicks = at_once(*[lambda: Client().get(link).status_code for _ in range(2)])
        assert sorted(clicks) == [302, 410]


def at_once(*acts):
    results, gate = [], Barrier(len(acts))

    def run(act):
        gate.wait()
        try:
            results.append(act())
        finally:
            connection.close()

    threads = [Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class TestErrorPages:
    def test_a_missing_page_is_the_same_for_strangers_and_for_nobody(self, client, project):
        client.force_login(make_user("ana"))
        for address in "/nonsense", project.get_absolute_url():
            page = client.get(address)
            assert page.status_code == 404
            assert "not a member of" in page.text
            assert "Memes" not in page.text
        assert Client().get("/nonsense").status_code == 404

    def test_a_refusal_names_the_role_that_is_missing(self, client, project):
        client.force_login(make_member(project, Role.LEAD))
        page = client.get(reverse("people", args=[project.slug]))
        assert page.status_code == 403
        assert "This needs the role admin in Memes; yours is lead." in page.text

    @pytest.mark.parametrize("name", ["400.html", "500.html", "503.html"])
    def test_when_we_are_broken_the_page_needs_nothing(self, name, django_assert_num_queries):
        with django_assert_num_queries(0):
            page = render_to_string(name)
        assert 'href="/"' in page

    def test_no_page_holds_scripts_or_styles_inline(self, client, project, admin):
        team.invite(project, Role.LEAD, admin)
        pages = [client.get(reverse("account")), client.get(reverse("people", args=[project.slug]))]
        pages += [Client().get(reverse("login")), Client().get("/nonsense")]
        for page in pages:
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page.text)
