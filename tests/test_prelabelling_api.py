"""Pre-labellings for programs."""

import pytest
from django.test import Client

from annotate.models import ApiToken, Disagreement, LabelSource, Post, Role, User
from modeling.models import Cascade, Goal, PreLabelling

from .make import make_member, make_project
from .test_prelabelling import done_run
from .test_prelabelling_pages import _alone as _alone
from .test_prelabelling_pages import asked, carry_out, client, make_cascade, project, run, settled, waiting
from .test_run_pages import logged_in

__all__ = ["client", "project", "run"]
pytestmark = pytest.mark.django_db
API = "/api/projects/memes/prelabellings"


def post(client, more="", **told):
    return client.post(f"{API}{more}", told, content_type="application/json")


class TestAsking:
    def test_one_call_queues_it_and_settles_nothing(self, client, run):
        answer = post(client, run=run.pk, threshold=0.8, posts={"state": "contested"})
        assert answer.status_code == 202
        told = answer.json()
        assert (told["goal"], told["state"], told["threshold"], told["by"]) == ("ask", "queued", 0.8, "ada")
        assert told["posts"] == {"state": "contested"}
        assert [one["id"] for one in client.get(API).json()] == [told["id"]]

    def test_without_more_it_is_the_latest_run_about_posts_that_wait(self, client, run):
        told = post(client).json()
        assert (told["run"], told["posts"]) == (run.pk, {"state": "waiting"})

    @pytest.mark.parametrize(("told", "words"), [
        ({"run": 10**30}, ""), ({"run": 999999}, "There is no run"), ({"threshold": 0.1}, "The threshold is"),
        ({"posts": {"holdout": "1"}}, "locked test set"), ({"bits": 3}, "4, 8 or 16"), ({"batch": 0}, ""),
        ({"growth": 0.5}, "from 1 to 100"), ({"posts": {"state": "lo\0st"}}, "none of them NUL"),
    ])  # fmt: skip
    def test_what_cannot_be_is_refused_in_words(self, client, run, told, words):
        answer = post(client, **told)
        assert answer.status_code in (400, 422)
        assert words in answer.content.decode()
        assert not PreLabelling.objects.exists()

    def test_a_cascade_is_asked_in_place_of_a_run(self, client, run):
        made = make_cascade(run)
        told = post(client, cascade=made.pk).json()
        assert (told["run"], told["cascade"], told["voter"]) == (run.pk, made.pk, "Two stages at 0.8")
        assert client.get(f"{API}/{told['id']}").json()["cascade"] == made.pk
        assert post(client, run=run.pk).json()["cascade"] is None

    def test_what_cannot_be_asked_of_a_cascade_is_refused_in_words(self, client, project, run):
        made, other = make_cascade(run), done_run(run.dataset)
        assert "There is no cascade 999999" in post(client, cascade=999999).json()["detail"]
        assert "another run" in post(client, cascade=made.pk, run=other.pk).json()["detail"]
        elsewhere = make_cascade(run, project=make_project("Others"))
        assert post(client, cascade=elsewhere.pk).status_code == 422
        Cascade.objects.update(threshold=None)
        answer = post(client, cascade=made.pk)
        assert (answer.status_code, PreLabelling.objects.exists()) == (422, False)
        assert "has no point yet" in answer.json()["detail"]

    def test_without_a_run_it_says_so(self, client):
        assert "Train one" in post(client).content.decode()


class TestOne:
    def test_it_tells_what_its_threshold_means_and_the_others(self, client, project, run):
        made = asked(run, waiting(project, 4) + waiting(project, 2, "neutral", 0.6))
        told = client.get(f"{API}/{made.pk}").json()
        assert told["waits_for_a_word"]
        assert (told["reckoning"]["threshold"], told["reckoning"]["settled"], told["reckoning"]["unsure"]) == (
            0.9,
            4,
            2,
        )
        assert told["reckoning"]["on_validation"]["of"] == 25
        assert {"label": "bullish", "sure": 4}.items() <= told["reckoning"]["labels"][-1].items()
        assert told["offered"][0]["threshold"] == 0.5
        assert told["audits"] is None

    def test_before_it_was_asked_there_is_nothing_to_reckon(self, client, run):
        told = client.get(f"{API}/{post(client).json()['id']}").json()
        assert (told["reckoning"], told["offered"]) == (None, [])

    def test_settled_it_tells_of_its_audits(self, client, project, run):
        made = settled(asked(run, waiting(project, 4)), audit_rate=1)
        told = client.get(f"{API}/{made.pk}").json()
        assert told["audits"] == {"drawn": 4, "waiting": 4, "told": 0, "wrong": 0, "estimate": None}
        assert told["result"]["settled"] == {"bullish": 4}

    def test_of_another_project_nothing_is_told(self, client, project, run):
        made = asked(run, [])
        make_member(make_project("Others"), Role.ADMIN, "eve")
        eve = logged_in(User.objects.get(username="eve"))
        assert client.get(f"/api/projects/others/prelabellings/{made.pk}").status_code == 404
        assert eve.get(f"/api/projects/others/prelabellings/{made.pk}").status_code == 404


class TestSettling:
    def test_settled_on_a_word_once_and_taken_back_once(self, client, project, run):
        made = asked(run, waiting(project, 4))
        assert post(client, f"/{made.pk}/apply", growth=0, audit_rate=1).status_code == 202
        assert post(client, f"/{made.pk}/apply").status_code == 409
        carry_out(made)
        assert (made.threshold, made.growth, made.goal) == (0.9, 0, Goal.APPLY)
        assert Post.objects.filter(label_source=LabelSource.MODEL).count() == 4
        assert post(client, f"/{made.pk}/take-back").status_code == 202
        assert post(client, f"/{made.pk}/take-back").status_code == 409
        carry_out(made)
        assert not Post.objects.filter(label_source=LabelSource.MODEL).exists()
        assert not Disagreement.objects.filter(closed=None).exists()

    def test_what_cannot_be_settles_nothing(self, client, project, run):
        made = asked(run, waiting(project, 4))
        answer = post(client, f"/{made.pk}/apply", threshold=0.2)
        assert answer.status_code == 422
        assert "The threshold is a chance" in answer.json()["detail"]
        made.refresh_from_db()
        assert made.waits_for_a_word

    def test_stopped_and_resumed(self, client, run):
        pk = post(client).json()["id"]
        assert post(client, f"/{pk}/stop").json()["state"] == "stopped"
        assert post(client, f"/{pk}/stop").status_code == 409
        assert post(client, f"/{pk}/resume").json()["state"] == "queued"
        assert post(client, f"/{pk}/resume").status_code == 409

    def test_a_lead_only_looks(self, project, run):
        made, lead = asked(run, []), logged_in(make_member(project, Role.LEAD))
        assert lead.get(f"{API}/{made.pk}").status_code == 200
        for more in ("", f"/{made.pk}/apply", f"/{made.pk}/take-back", f"/{made.pk}/stop", f"/{made.pk}/resume"):
            assert post(lead, more).status_code == 403, more


def test_a_token_will_do(project, run):
    _, secret = ApiToken.issue(make_member(project, Role.LEAD), "laptop")
    asked(run, [])
    assert len(Client(headers={"Authorization": f"Bearer {secret}"}).get(API).json()) == 1
