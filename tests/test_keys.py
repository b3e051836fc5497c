"""Which key does what on the review screen."""

import pytest

from annotate.keys import ACTIONS, keys_for, refused
from annotate.models import Role, User

from .make import make_member, make_project


def test_labels_without_keys_get_the_digits_in_their_order():
    assert keys_for({}, [(7, ""), (8, ""), (9, "")]).labels == {7: "1", 8: "2", 9: "3"}


def test_a_digit_that_is_somebodys_own_key_is_given_to_nobody_else():
    assert keys_for({}, [(7, ""), (8, "1"), (9, "b")]).labels == {7: "", 8: "1", 9: "b"}


def test_more_than_nine_are_found_by_typing():
    keys = keys_for({}, [(pk, "") for pk in range(10)])
    assert set(keys.labels.values()) == {""}


def test_a_label_takes_its_key_from_an_action():
    keys = keys_for({}, [(7, "V")])
    assert keys.actions["votes"] == ""
    assert keys.lost == {"votes": 7}
    assert keys.actions["undo"] == "u"


def test_ones_own_keys_are_used():
    assert keys_for({"undo": "x"}, []).actions["undo"] == "x"


@pytest.mark.parametrize(
    ("chosen", "action", "told"),
    [
        ({"undo": "1"}, "undo", "Digits choose labels."),
        ({"undo": " "}, "undo", "one letter or sign"),
        ({"undo": "ab"}, "undo", "one letter or sign"),
        ({"skip": "v"}, "skip", "“v” is already the key for: show the votes."),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(chosen, action, told):
    assert told in refused(chosen)[action]


def test_two_may_swap_their_keys():
    assert refused({"undo": "v", "votes": "u"}) == {}


@pytest.mark.django_db
class TestAccount:
    def test_saved_refused_and_put_back(self, client):
        rae = make_member(make_project(), Role.REVIEWER, "rae")
        client.force_login(rae)
        usual = {action: key for action, (key, _) in ACTIONS.items()}
        client.post("/account/keys", usual | {"undo": "X"})
        assert User.objects.get(pk=rae.pk).review_keys == {"undo": "x"}
        answer = client.post("/account/keys", usual | {"undo": "v"})
        assert answer.status_code == 422
        assert "already the key" in answer.text
        assert User.objects.get(pk=rae.pk).review_keys == {"undo": "x"}
        client.post("/account/keys", {"as_they_were": "1"})
        assert User.objects.get(pk=rae.pk).review_keys == {}
