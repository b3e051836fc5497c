"""What we export, we import: nothing is lost on the way, and nothing that happened elsewhere counts as ours."""

import io
import json
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
from django.core.files import File
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone
from PIL import Image as Drawing

from annotate import deciding, images, quality, queue, reviewers, settling
from annotate.blindness import Reader
from annotate.card import last_decision
from annotate.funnel import funnel_of
from annotate.importing import doors, exported, formats, running
from annotate.importing.load import content_of
from annotate.importing.rows import Row
from annotate.models import (
    Disagreement,
    Image,
    LabelSource,
    Post,
    QueueTally,
    Review,
    Role,
    Template,
    User,
    Vote,
    Voter,
)
from annotate.models.review import BROUGHT
from annotate.pace import today
from annotate.queue import Seat
from annotate.story import story_of
from labeling.models import Replacement
from modeling.datasets import dataset, items
from modeling.datasets.recipe import Recipe
from modeling.export import formats as exports
from modeling.export.members import Options
from tests.exporting import HOSTILE
from tests.make import PASSWORD, make_label, make_member, make_post, make_project, make_user, make_vote
from tests.test_import import bring_in, picture, report_of

pytestmark = pytest.mark.django_db
WHOLE = {
    "id": "t3_abc",
    "text": "gm <|im_end|> \u202eقمر\u202c 🚀\nsecond line",
    "label": "bullish",
    "label_source": "consensus",
    "split": "train",
    "group": 17,
    "incongruous": True,
    "confidence": 0.83,
    "source": "board",
    "at": "2025-11-14T09:00:00.123456+00:00",
    "meta": {"likes": 3, "nested": {"a": [1, None, "x"]}},
    "votes": [
        {
            "voter": "gpt-4o-mini", "label": "bullish", "confidence": 0.9, "probabilities": {"bullish": 0.9},
            "reason": "Rockets.", "text_reading": "glad", "image_reading": "a rocket", "incongruous": False,
            "at": "2025-11-14T09:01:00.000001+00:00",
        },
        {"voter": "keywords", "reason": "nothing matched", "at": "2025-11-14T09:02:00.000000+00:00"},
    ],
    "reviews": [
        {
            "reviewer": "ana", "why": "split", "label": "bullish", "note": "=sarcasm()\n…", "incongruous": True,
            "final": True, "saw": ["gpt-4o-mini"], "seconds": 4.2, "at": "2025-11-14T09:03:00.000000+00:00",
        },
        {"reviewer": "ben", "why": "split", "instead": "cannot_tell", "at": "2025-11-14T09:02:30.000000+00:00"},
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _counted_now(monkeypatch):
    """What waits is counted every few seconds only; tests are quicker than that."""
    monkeypatch.setattr(queue, "open_in", queue.count_open)


@pytest.fixture
def project():
    return make_project(audit_rate=0)


def lines(folder: Path, *records, name="posts.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return path


def line(**changes):
    record = {"id": "a", "text": "gm", "label": "bullish", "label_source": "review", "split": "train"}
    return {name: value for name, value in (record | {"at": WHOLE["at"]} | changes).items() if value is not None}


def review(**changes):
    return {"reviewer": "ana", "why": "split", "label": "bullish", "at": "2025-11-14T09:03:00+00:00"} | changes


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


# --- A line


def test_every_field_of_a_post_comes_back(project, tmp_path):
    run = bring_in(project, lines(tmp_path, WHOLE))
    assert (run.imported, run.refused, run.votes) == (1, 0, 2)
    post = project.posts.get()
    assert (post.external_id, post.text, post.source, post.at) == (
        "t3_abc", WHOLE["text"], "board", at(WHOLE["at"]),
    )  # fmt: skip
    assert (post.label.name, post.label_source, post.state, post.incongruous) == (
        "bullish", "consensus", "settled", True,
    )  # fmt: skip
    assert post.meta == WHOLE["meta"]
    assert not post.holdout


def test_every_field_of_a_vote_comes_back(project, tmp_path):
    bring_in(project, lines(tmp_path, WHOLE))
    vote, abstention = Vote.objects.order_by("voter__name")
    told = WHOLE["votes"][0]
    assert (vote.voter.name, vote.label.name, vote.confidence) == ("gpt-4o-mini", "bullish", 0.9)
    assert (vote.probabilities, vote.reason) == ({"bullish": 0.9}, "Rockets.")
    assert (vote.text_reading, vote.image_reading, vote.incongruous) == ("glad", "a rocket", False)
    assert (vote.created, vote.raw) == (at(told["at"]), "")
    assert (abstention.voter.name, abstention.label, abstention.reason) == ("keywords", None, "nothing matched")
    assert project.posts.get().vote_count == 2


def test_every_field_of_a_review_comes_back(project, tmp_path):
    bring_in(project, lines(tmp_path, WHOLE))
    ana, ben = Review.objects.order_by("pk")
    assert (ana.label.name, ana.instead, ana.note, ana.incongruous) == ("bullish", "", "=sarcasm()\n…", True)
    assert (ana.final, ana.seconds, ana.at) == (True, 4.2, at("2025-11-14T09:03:00+00:00"))
    assert list(Voter.objects.filter(pk__in=ana.saw).values_list("name", flat=True)) == ["gpt-4o-mini"]
    assert (ben.label, ben.instead, ben.final, ben.saw, ben.seconds) == (None, "cannot_tell", False, [], None)
    assert ana.disagreement == ben.disagreement
    over = ana.disagreement
    assert (over.why, over.opened, over.closed) == ("split", ben.at, ana.at)
    assert (over.label.name, over.was_state, over.was_label, over.inclusion) == ("bullish", "", None, None)


@pytest.mark.parametrize("source", ["review", "consensus", "model", "import"])
def test_where_a_label_is_from_is_kept_whatever_this_project_would_say(tmp_path, source):
    """Its own rule would call this post contested."""
    project = make_project(audit_rate=0)
    votes = [{"voter": "a", "label": "bullish"}, {"voter": "b", "label": "bearish"}]
    bring_in(project, lines(tmp_path, line(label_source=source, votes=votes)))
    post = project.posts.get()
    assert (post.state, post.label.name, post.label_source) == ("settled", "bullish", source)
    assert not Disagreement.objects.exists()
    settling.settle_all(project)
    post.refresh_from_db()
    assert post.state == ("contested" if source == "consensus" else "settled")


def test_imported_labels_of_machines_are_audited_like_any(tmp_path):
    """Or the error of all would be told from those alone that were settled here."""
    project = make_project(audit_rate=1)
    records = [line(id=source, label_source=source) for source in ("consensus", "model", "review", "import")]
    bring_in(project, lines(tmp_path, *records))
    drawn = Disagreement.objects.filter(why="audit", closed=None).values_list("post__external_id", "inclusion")
    assert sorted(drawn) == [("consensus", 1.0), ("model", 1.0)]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_come_back_as_they_were(project, tmp_path, text):
    said = review(note=text)
    vote = {"voter": "gpt", "label": "bullish", "reason": text}
    bring_in(project, lines(tmp_path, line(text=text, votes=[vote], reviews=[said], meta={text[:100]: text[:1000]})))
    post = project.posts.get()
    assert (post.text, Vote.objects.get().reason, Review.objects.get().note) == (text, text, text)
    assert post.meta == {text[:100]: text[:1000]}


def test_odd_lines_cost_themselves_and_no_other(project, tmp_path):
    odd = [
        line(id="no content", text=None),
        line(id="no such label", label="sideways"),
        line(id="no such date", at="yesterday"),
        {**line(id="odd kinds"), "votes": ["x", {"voter": ""}, {"voter": 3, "confidence": "high"}],
         "reviews": [7, {"reviewer": "ana"}, review(seconds=-1, final="yes", saw="gpt", why="whim", incongruous=1)]},
        line(id="fine"),
    ]  # fmt: skip
    run = bring_in(project, lines(tmp_path, *odd))
    assert (run.imported, run.refused) == (2, 3)
    [kept] = Review.objects.all()
    assert (kept.seconds, kept.final, kept.saw, kept.disagreement.why, kept.incongruous) == (
        None, False, [], "split", None,
    )  # fmt: skip
    assert Vote.objects.get().voter.name == "3"


def test_an_answer_with_a_label_that_this_project_lacks_is_told_in_the_report(project, tmp_path):
    said = [review(), review(reviewer="ben", label="sideways")]
    run = bring_in(project, lines(tmp_path, line(reviews=said)))
    assert Review.objects.get().label.name == "bullish"
    assert report_of(run)[0]["detail"] == "1 answer of a person was not kept: this project has no such label"


def test_the_reader_knows_every_source_of_a_label():
    assert set(LabelSource.values) - {""} == exported.SOURCES


def test_a_single_line_is_read_as_one_post(project, tmp_path):
    assert bring_in(project, lines(tmp_path, WHOLE, name="one.json")).imported == 1
    assert formats.detect(tmp_path / "one.json", "one.json") == "casting_vote"


@pytest.mark.parametrize(
    "foreign",
    [
        {"text": "gm", "label": "bullish", "label_source": "human"},
        {"text": "gm", "votes": [{"up": 3}]},
        {"text": "gm", "reviews": 4},
        {"file_name": "a.png", "text": "gm", "label": "bullish", "label_source": "review"},
    ],
)
def test_a_file_of_others_is_read_as_before(tmp_path, foreign):
    path = lines(tmp_path, foreign, foreign)
    assert formats.detect(path, path.name) == "jsonl"


def test_a_list_of_reviews_of_products_is_no_post_of_ours(tmp_path):
    path = tmp_path / "products.json"
    path.write_text(json.dumps({"reviews": [{"text": "a fine kettle, truly"}, {"text": "it broke within a week"}]}))
    assert [row.text for row in formats.read(path, path.name, formats.Options())] == [
        "a fine kettle, truly", "it broke within a week",
    ]  # fmt: skip


# --- Twice, and home again


def everything(project):
    return [
        sorted(Vote.objects.filter(post__project=project).values_list("post", "voter", "label", "reason", "created")),
        sorted(Review.objects.filter(project=project).values_list("pk", "reviewer", "key", "note", "at")),
        Disagreement.objects.filter(project=project).count(),
        User.objects.count(),
        sorted(project.posts.values_list("external_id", "label__name", "label_source", "state")),
    ]


def test_importing_twice_adds_nothing(project, tmp_path):
    path = lines(tmp_path, WHOLE, line(reviews=[review(at=None), review(at=None, reviewer="zoe")]))
    bring_in(project, path)
    before = everything(project)
    run = bring_in(project, path)
    assert (run.imported, run.already, run.votes) == (0, 2, 0)
    assert everything(project) == before


def test_what_people_said_here_is_not_said_again_by_an_export_that_comes_home(project, tmp_path):
    person = make_member(project, username="ana")
    post = make_post(project, state="contested")
    Disagreement.objects.create(project=project, post=post, why="split")
    seat = Seat(project, person, Role.REVIEWER, "tab")
    given = deciding.decide(seat, queue.claim(seat), deciding.Given(label=make_label(project, "bullish").pk), "k")
    given.refresh_from_db()
    told = review(at=given.at.isoformat())
    bring_in(project, lines(tmp_path, line(id=post.external_id, text=post.text, reviews=[told])))
    assert Review.objects.get() == given


def test_a_voter_that_is_here_gets_the_votes_of_its_name(project, tmp_path):
    voter = Voter.objects.create(project=project, name="gpt-4o-mini", provider="openai", model="x", fingerprint="f")
    bring_in(project, lines(tmp_path, WHOLE))
    assert Vote.objects.filter(voter=voter).count() == 1
    assert not Replacement.objects.exists()


# --- Who said it


def test_members_are_known_by_name_and_strangers_get_an_account_that_opens_nothing(project, tmp_path, client):
    ana = make_member(project, username="ana")
    ben = make_member(project, username="benjamin", email="Ben@example.org")
    outsider = make_member(make_project(), Role.ADMIN, username="zoe")
    said = [review(), review(reviewer="ben@example.org"), review(reviewer="zoe")]
    bring_in(project, lines(tmp_path, line(reviews=said)))
    assert set(Review.objects.filter(reviewer__in=[ana, ben]).values_list("reviewer", flat=True)) == {ana.pk, ben.pk}
    stranger = Review.objects.exclude(reviewer__in=[ana, ben]).get().reviewer
    assert stranger != outsider
    assert (stranger.username, stranger.is_active, stranger.has_usable_password()) == ("zoe@import", False, False)
    assert not stranger.memberships.exists()
    for password in ("", "!", PASSWORD):
        assert client.post(reverse("login"), {"username": "zoe@import", "password": password}).status_code == 422
    client.force_login(make_member(project, Role.ADMIN))
    assert "zoe@import" not in client.get(reverse("people", args=[project.slug])).content.decode()


def test_nobody_who_is_called_like_that_lends_the_name(project, tmp_path):
    taken = make_user("zoe@import")
    bring_in(project, lines(tmp_path, line(reviews=[review(reviewer="zoe")])))
    assert Review.objects.get().reviewer.username == "zoe@import-2"
    assert Review.objects.get().reviewer != taken


def test_a_name_that_came_from_elsewhere_before_comes_back_to_its_owner(project, tmp_path):
    ana = make_member(project, username="ana")
    bring_in(project, lines(tmp_path, line(reviews=[review(reviewer="ana@import")])))
    assert Review.objects.get().reviewer == ana
    other = make_project()
    bring_in(other, lines(tmp_path, line(reviews=[review(reviewer="ana@import")])))
    assert Review.objects.get(project=other).reviewer.username == "ana@import"


def test_one_person_twice_and_two_who_differ(project, tmp_path):
    said = [
        review(at="2025-11-14T09:00:00+00:00"), review(reviewer="ben", label="bearish"), review(final=True),
        review(at="2025-11-15T09:00:00+00:00"), review(why="audit"),
    ]  # fmt: skip
    bring_in(project, lines(tmp_path, line(reviews=said)))
    told = [(one.why, one.answers, one.label and one.label.name) for one in Disagreement.objects.order_by("pk")]
    assert told == [("split", 3, "bullish"), ("split", 1, "bullish"), ("audit", 1, "bullish")]


# --- Nothing of it counts as ours


def figures(project):
    told = quality.read(project)
    checks = quality.checks(project)
    return (told.quality, told.people, told.waiting, told.reviewers, told.eyes, checks, quality.audits(project))


def audited_project():
    """Eight posts that machines settled, of which two people audited four."""
    project = make_project(audit_rate=1, double_rate=0)
    two = [Seat(project, make_member(project, username=name), Role.REVIEWER, "t") for name in ("ana", "ben")]
    for n in range(8):
        post = make_post(project, f"post {n}")
        make_vote(post, "gpt", "bullish")
        make_vote(post, "gemini", "bullish")
        settling.settle(project, [post.pk])
    for seat in two:
        for n in range(4):
            said = make_label(project, "bearish" if n == 0 else "bullish").pk
            deciding.decide(seat, queue.claim(seat), deciding.Given(label=said), f"{seat.user.pk} {n}")
    return project, two


def test_answers_from_elsewhere_leave_our_estimate_of_the_error_as_it_was(tmp_path):
    project, (seat, _) = audited_project()
    before, weeks = figures(project), reviewers.everybody(project)
    records = [
        line(id=f"brought {n}", label_source="review", reviews=[
            review(why=why, label="bearish", reviewer=who, at=timezone.now().isoformat())
            for why in ("audit", "risk", "check", "split") for who in ("ana", "stranger")
        ])
        for n in range(40)
    ]  # fmt: skip
    run = bring_in(project, lines(tmp_path, *records))
    assert run.imported == 40
    assert Review.objects.filter(BROUGHT).count() == 320
    assert figures(project) == before
    after = reviewers.everybody(project)
    assert [(one.user, one.whole, one.weeks) for one in after.people] == [
        (one.user, one.whole, one.weeks) for one in weeks.people
    ]  # fmt: skip
    assert (after.alpha, after.compared) == (weeks.alpha, weeks.compared)
    assert today(seat)["n"] == 4


def test_answers_from_elsewhere_on_the_locked_test_set_measure_nobody_here(project, tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "ENOUGH_CHECKS", 1)
    make_member(project, username="ana")
    locked = line(split="holdout", reviews=[review(why="check")])
    bring_in(project, lines(tmp_path, locked), holdout=True)
    assert Review.objects.count() == 1
    assert quality.checks(project) is None


def test_an_answer_from_elsewhere_is_nobodys_last_decision(project, tmp_path):
    ana = make_member(project, username="ana")
    seat = Seat(project, ana, Role.REVIEWER, "tab")
    bring_in(project, lines(tmp_path, line(reviews=[review(at=timezone.now().isoformat())])))
    assert last_decision(seat) is None
    with pytest.raises(queue.Gone, match="nothing to take back"):
        deciding.undo(seat)
    with pytest.raises(queue.Gone, match="nothing to take back"):
        deciding.take_back(seat, Review.objects.get().key)


def test_nothing_waits_because_of_it(project, tmp_path):
    bring_in(project, lines(tmp_path, WHOLE, line(reviews=[review(why="check"), review(why="audit")])))
    assert sum(QueueTally.objects.filter(project=project).values_list("posts", flat=True)) == 0
    assert queue.waiting_for(project, Role.ADMIN, exactly=True) == 0


def test_the_posts_story_says_that_they_came_with_an_import(project, tmp_path, client):
    bring_in(project, lines(tmp_path, WHOLE))
    post = project.posts.get()
    told = [(chapter.title, chapter.detail) for chapter in story_of(post, Reader(Role.LEAD)) if chapter.review]
    assert [title for title, _ in told] == [
        "ben@import answered, elsewhere",
        "ana@import decided, as a lead, elsewhere",
    ]
    assert all("came with an import" in detail and "voters differ" in detail for _, detail in told)
    assert "Settled" in [chapter.title for chapter in story_of(post, Reader(Role.LEAD))]
    client.force_login(make_member(project))
    page = client.get(post.get_absolute_url()).content.decode()
    assert "ana@import decided, as a lead, elsewhere" in page


# --- The locked test set


def test_a_row_of_the_locked_test_set_comes_in_as_such_or_not_at_all(project, tmp_path):
    path = lines(tmp_path, line(split="holdout", label_source="import"), line(id="b"))
    run = bring_in(project, path)
    assert (run.imported, run.refused) == (1, 1)
    assert "--holdout" in report_of(run)[0]["detail"]
    run = bring_in(project, path, holdout=True)
    assert sorted(project.posts.values_list("external_id", "holdout")) == [("a", True), ("b", True)]


def test_whoever_says_that_it_is_the_test_set_vouches_for_its_labels(project, tmp_path):
    path = lines(tmp_path, line(label_source="consensus"), line(id="b", label_source="review"))
    bring_in(project, path, holdout=True)
    told = sorted(project.posts.values_list("external_id", "label_source", "holdout"))
    assert told == [("a", "import", True), ("b", "review", True)]


# --- Whole exports


def frozen_project():
    """A post of each kind: with a picture and without words, with words alone, decided by people, by machines."""
    project = make_project(audit_rate=0, double_rate=0, asks_incongruous=True)
    ana = make_member(project, username="ana")
    group = Template.objects.create(project=project, name="Wojak")
    for n, text in enumerate(["", "gm <image> frens", *HOSTILE[4:12]]):
        image = stored(n) if n < 3 else None
        post = make_post(
            project, text, image=image, template=group if n == 0 else None, external_id=f"id {n}", source="biz",
            meta={"likes": n},
        )  # fmt: skip
        came = content_of(Row(1, text), image.sha256 if image else "")
        Post.objects.filter(pk=post.pk).update(content_hash=came)
        make_vote(post, "gpt", "bullish", confidence=0.8, reason=f"because of {text[:40]}", text_reading="glad")
        make_vote(post, "gemini", "bullish" if n % 2 else "bearish", confidence=0.5)
        settling.settle(project, [post.pk])
    seat = Seat(project, ana, Role.LEAD, "tab")
    while pk := queue.claim(seat):
        given = deciding.Given(label=make_label(project, "bearish").pk, incongruous=True, note="=sarcasm", seconds=3)
        deciding.decide(seat, pk, given, f"key {pk}")
    return project


def stored(n):
    """As a phone would send it: with metadata, which we do not keep."""
    file, exif = io.BytesIO(), Drawing.Exif()
    exif[0x010F] = f"phone {n}"
    Drawing.open(io.BytesIO(picture(f"words {n}", n))).save(file, "JPEG", exif=exif)
    seen = images.inspect(file.getvalue())
    assert seen.sha256 != images.sha256(seen.data)
    images.store(seen)
    return Image.objects.create(
        sha256=seen.sha256, format=seen.format, width=seen.width, height=seen.height, bytes=len(seen.data),
        fingerprint=seen.fingerprint,
    )  # fmt: skip


def freeze(project, name="v1"):
    frozen = dataset.ask(project, None, name, Recipe(), queue=False)
    assert dataset.carry_out(frozen)
    frozen.refresh_from_db()
    return frozen


def export(project, key, tmp_path, *, zipped=False, **options) -> Path:
    out = tmp_path / (f"{key}.zip" if zipped else key)
    if zipped:
        out.write_bytes(b"".join(exports.stream(freeze(project), key, Options(**options)).chunks))
    else:
        exports.write_to(freeze(project), key, Options(**options), out)
    return out


def content(project, name="v1", without=()):
    """What is known of each post, as a dataset frozen of it has it. In which split it fell is drawn anew."""
    told = [json.loads(items.line(item)) for item in items.items(freeze(project, name))]
    dropped = {"split", "group", "image", *without}
    return {line["id"]: {name: value for name, value in line.items() if name not in dropped} for line in told}


def renamed(content, project):
    """The one reviewer is nobody there."""
    return json.loads(json.dumps(content).replace('"ana"', '"ana@import"'))


@pytest.mark.parametrize("zipped", [True, False])
def test_the_json_lines_of_another_installation_come_back_with_nothing_lost(tmp_path, zipped):
    source, target = frozen_project(), make_project(audit_rate=0, asks_incongruous=True)
    run = bring_in(target, export(source, "jsonl", tmp_path, zipped=zipped))
    assert (run.imported, run.refused, run.error) == (10, 0, "")
    assert content(target) == renamed(content(source, "v2"), target)
    assert list(target.templates.exclude(name="").values_list("name", flat=True)) == ["Wojak"]
    assert target.posts.exclude(image=None).count() == 3
    assert funnel_of(target).contested == 0


def test_an_export_that_comes_home_changes_nothing_and_knows_its_pictures(tmp_path):
    project = frozen_project()
    before, pictures = everything(project), Image.objects.count()
    run = bring_in(project, export(project, "jsonl", tmp_path, zipped=True))
    assert (run.imported, run.already, run.refused) == (0, 10, 0)
    assert {line["detail"] for line in report_of(run)} == {""}
    assert everything(project) == before
    assert Image.objects.count() == pictures


def test_a_picture_that_bears_the_name_of_another_is_not_taken_for_it(tmp_path):
    project = make_project(audit_rate=0)
    image = stored(1)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("posts.jsonl", json.dumps(line(image=f"images/{image.sha256}.jpg")))
        archive.writestr("dataset.json", "{}")
        archive.writestr(f"images/{image.sha256}.jpg", picture("quite another", 7))
    assert bring_in(project, tmp_path / "set.zip").imported == 1
    assert project.posts.get().image != image


@pytest.mark.parametrize("key", ["sharegpt", "llava", "llamafactory"])
@pytest.mark.parametrize("reasons", [True, False])
def test_conversations_come_back_with_their_texts_and_labels(tmp_path, key, reasons):
    source, target = frozen_project(), make_project(audit_rate=0)
    run = bring_in(target, export(source, key, tmp_path, zipped=True, with_reason=reasons))
    assert (run.imported, run.refused, run.error) == (10, 0, "")
    told = dict(target.posts.values_list("external_id", "text"))
    assert told == dict(source.posts.values_list("external_id", "text"))
    labels = dict(target.posts.values_list("external_id", "label__name"))
    assert labels == dict(source.posts.values_list("external_id", "label__name"))
    assert target.posts.exclude(image=None).count() == 3
    with_reasons = target.posts.filter(meta__has_key="reason").count()
    assert with_reasons == (10 if reasons else 0)


def test_conversations_with_metadata_bring_back_where_a_label_is_from(tmp_path):
    source, target = frozen_project(), make_project(audit_rate=0)
    bring_in(target, export(source, "llava", tmp_path))
    lost = ("votes", "reviews", "confidence")
    assert content(target, without=lost) == content(source, "v2", without=lost)


def test_label_studio_brings_back_votes_with_scores_and_answers(tmp_path):
    source, target = frozen_project(), make_project(audit_rate=0)
    run = bring_in(target, export(source, "label_studio", tmp_path))
    assert (run.imported, run.refused, run.error) == (10, 0, "")
    lost = ("meta", "template", "votes", "reviews", "incongruous")
    assert content(target, without=lost) == content(source, "v2", without=lost)
    cast = Vote.objects.order_by("post__external_id", "voter__name").values_list(
        "post__external_id", "voter__name", "label__name", "confidence"
    )
    assert list(cast.filter(post__project=target)) == list(cast.filter(post__project=source))
    answers = Review.objects.order_by("disagreement__post__external_id").values_list(
        "disagreement__post__external_id", "label__name", "note", "incongruous"
    )
    assert list(answers.filter(project=target)) == list(answers.filter(project=source))
    assert answers.filter(project=target).count() > 3


@pytest.mark.parametrize("key", ["jsonl", "sharegpt", "llava", "llamafactory", "label_studio", "imagefolder", "csv"])
def test_the_locked_test_set_of_an_export_is_not_taken_for_posts_to_learn_from(tmp_path, key):
    source = frozen_project()
    source.posts.filter(external_id__in=["id 1", "id 2", "id 3"]).update(holdout=True)
    target = make_project(audit_rate=0)
    path = export(source, key, tmp_path, splits=items.SPLITS)
    held = 2 if key == "imagefolder" else 3  # the third has no picture
    run = bring_in(target, path)
    assert run.refused == held
    assert not target.posts.filter(external_id__in=["id 1", "id 2", "id 3"]).exists()
    bring_in(target, path, holdout=True)
    assert target.posts.filter(external_id__in=["id 1", "id 2", "id 3"], holdout=True).count() == held


def test_files_beside_the_posts_are_passed_over_and_not_called_refused(project, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    turns = {"messages": [{"role": "user", "content": "gm"}, {"role": "assistant", "content": "bullish"}]}
    for split in ("train", "validation", "test"):
        lines(folder, turns | {"id": split}, name=f"{split}.json")
    (folder / "dataset_info.json").write_text(json.dumps({"x": {"file_name": "train.json"}}))
    (folder / "dataset.json").write_text(json.dumps({"format": "casting-vote", "labels": [{"name": "bullish"}]}))
    (folder / "labels.csv").write_text("name,meaning\nbullish,it will rise\n")
    (folder / "README.md").write_text("# Memes")
    run = bring_in(project, folder)
    assert (run.imported, run.refused) == (3, 0)


def test_the_upload_page_shows_what_was_understood(project, client, tmp_path):
    with lines(tmp_path, WHOLE).open("rb") as file:
        run = doors.receive(project, make_user(), File(file, name="posts.jsonl"))
    client.force_login(make_member(project, Role.ADMIN))
    page = client.get(run.get_absolute_url()).content.decode()
    assert "posts of Casting Vote" in page
    assert "gpt-4o-mini: bullish" in page


def test_the_pictures_of_an_export_are_stored_once(tmp_path):
    source, target = frozen_project(), make_project(audit_rate=0)
    path = export(source, "jsonl", tmp_path)
    before = set(Image.objects.values_list("sha256", flat=True))
    bring_in(target, path)
    assert set(Image.objects.values_list("sha256", flat=True)) == before
    assert all(default_storage.exists(images.path_of(one.sha256, one.format)) for one in Image.objects.all())
    assert Post.objects.filter(image__isnull=False).count() == 6


def test_a_program_that_sends_lines_sends_all_that_they_tell(project, client):
    client.force_login(make_member(project, Role.ADMIN))
    body = json.dumps(WHOLE).encode() + b"\n"
    assert client.post(f"/api/projects/{project.slug}/posts", body, "application/x-ndjson").status_code == 202
    run = project.imports.get()
    assert running.carry_out(run)
    assert (run.imported, run.votes, Review.objects.count()) == (1, 2, 2)


def test_the_command_takes_the_format_by_its_name(project, tmp_path):
    path = lines(tmp_path, WHOLE, name="posts.txt")
    call_command("import_posts", str(path), project=project.slug, format="casting_vote", stdout=io.StringIO())
    assert project.posts.get().label_source == "consensus"
