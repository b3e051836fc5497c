"""A post removed for legal reasons: nothing of it is left, the figures stay true, and it does not come back."""

import csv
import io
import json
import threading
from pathlib import Path

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.test import Client
from django.urls import reverse

from annotate import deciding, images, queue, removing
from annotate.importing import doors, leftovers, running
from annotate.models import (
    ApiToken,
    Disagreement,
    Event,
    Image,
    ImportRun,
    Post,
    Removal,
    Review,
    Role,
    Tally,
    Targeting,
    Template,
    Vote,
    VoteTally,
)
from annotate.models.importing import ImportState
from annotate.models.tally import QueueTally
from annotate.queue import Gone, Seat
from labeling import asking, runs, storing, submitting, voters
from labeling.models import Batch, BatchPost, Failure, Part
from labeling.providers.contract import Answer
from labeling.voters import Makeup
from tests.make import make_member, make_post, make_project, make_user, make_vote
from tests.test_import import bring_in, picture, report_of, write

pytestmark = pytest.mark.django_db
WORDS = "This one names a private person and has to go"


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def boss(project):
    return make_member(project, Role.ADMIN, "boss")


def remove(post, by=None, reason="its author asked for it"):
    return removing.remove(post, by, reason)


def everything_stored():
    """Every table of ours, as text."""
    with connection.cursor() as cursor:
        tables = [t for t in connection.introspection.table_names(cursor) if not t.startswith("django_content")]
        found = {}
        for table in tables:
            cursor.execute(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM \"{table}\" AS t")
            found[table] = cursor.fetchone()[0]
    return found


# --- What goes


def test_nothing_of_a_post_is_left_in_any_table_or_file(project, boss, tmp_path, settings):
    secret = "zebra-4711"
    path = write(tmp_path, "id,text,label", f"{secret},{secret} {WORDS},", f"w,{secret} {WORDS},wrong", "b,hello,")
    run = bring_in(project, path)
    refused = bring_in(project, write(tmp_path, "id,text,label", f"z,{secret} {WORDS},wrong", name="again.csv"))
    post = project.posts.get(external_id=secret)
    make_vote(post, "gpt", "bullish", reason=f"it says {secret}", raw=secret, text_reading=secret)
    waiting = Disagreement.objects.create(project=project, post=post, why="split")
    Review.objects.create(project=project, disagreement=waiting, reviewer=boss, key="k", instead="skip", note=secret)
    part = Part.objects.create(
        run=runs.start(project, boss, [keywords(project, boss)], queue=False), voter=gpt(project)
    )
    Failure.objects.create(part=part, post=post, cause=secret)
    BatchPost.objects.create(batch=Batch.objects.create(part=part, number=1), post=post)
    LogEntry.objects.create(
        user=boss, content_type=ContentType.objects.get_for_model(Post), object_id=str(post.pk), object_repr=secret,
        action_flag=CHANGE, change_message=secret,
    )  # fmt: skip
    assert secret in report_text(run)
    assert secret in report_text(refused)
    remove(post, boss)
    assert [table for table, text in everything_stored().items() if secret in text] == []
    for file in settings.MEDIA_ROOT.rglob("*"):
        assert file.is_dir() or secret.encode() not in file.read_bytes(), file


def gpt(project):
    return project.voters.get(name="gpt")


def keywords(project, boss):
    return voters.create(project, boss, Makeup.told("offline", "keywords", {}))


def report_text(run):
    run.refresh_from_db()
    return default_storage.open(run.report).read().decode()


def test_it_is_recorded_without_its_words(project, boss):
    post = make_post(project, WORDS, external_id="t3_secret")
    removal = remove(post, boss, "  a court\n ordered it ")
    event = Event.objects.get(verb="post removed")
    assert (removal.post_id, removal.by, removal.reason) == (post.pk, boss, "a court ordered it")
    assert (event.post_id, event.user, event.project, event.data) == (
        post.pk, boss, project, {"reason": "a court ordered it"},
    )  # fmt: skip
    assert "t3_secret" not in json.dumps([removal.content_hash, removal.id_hash, event.data])


@pytest.mark.parametrize("reason", ["", " \n\0", "x" * 301])
def test_without_a_reason_nothing_is_removed(project, reason):
    post = make_post(project)
    with pytest.raises(removing.NotRemoved):
        remove(post, reason=reason)
    assert Post.objects.filter(pk=post.pk).exists()
    assert not Removal.objects.exists()


def test_removed_twice_it_is_recorded_once(project):
    post = make_post(project)
    remove(Post.objects.get(pk=post.pk))
    with pytest.raises(removing.NotRemoved, match="no longer in the project"):
        remove(post)
    assert Removal.objects.count() == Event.objects.filter(verb="post removed").count() == 1


def test_tallies_and_template_sizes_stay_true(project, tmp_path):
    (tmp_path / "set").mkdir()
    for name, words in (("a", "one"), ("b", "two"), ("c", "three")):
        (tmp_path / "set" / f"{name}.png").write_bytes(picture(words))
    bring_in(project, tmp_path / "set")
    group = Template.objects.get(size=3)
    post = project.posts.first()
    vote = make_vote(post, "gpt", "bullish", cost="0.5")
    Disagreement.objects.create(project=project, post=post, why="split")
    remove(post)
    group.refresh_from_db()
    assert group.size == 2
    assert sum(Tally.objects.filter(project=project).values_list("posts", flat=True)) == 2
    assert sum(VoteTally.objects.filter(voter_id=vote.voter_id).values_list("votes", flat=True)) == 0
    assert sum(QueueTally.objects.filter(project=project).values_list("posts", flat=True)) == 0


def files_of(image):
    return [images.path_of(image.sha256, image.format), images.thumb_path_of(image.sha256)]


def import_pictures(project, tmp_path, **pictures):
    folder = tmp_path / project.slug
    folder.mkdir()
    for name, data in pictures.items():
        (folder / f"{name}.png").write_bytes(data)
    return bring_in(project, folder)


def test_a_picture_goes_with_the_last_post_that_shows_it_in_any_project(project, tmp_path):
    other = make_project()
    for one in (project, other):
        import_pictures(one, tmp_path, a=picture("mine"))
    image = Image.objects.get()
    remove(project.posts.get())
    assert Image.objects.exists()
    assert all(map(default_storage.exists, files_of(image)))
    remove(other.posts.get())
    assert not Image.objects.exists()
    assert not any(map(default_storage.exists, files_of(image)))


def test_where_the_picture_cannot_be_deleted_nothing_is_recorded_as_removed(project, tmp_path, monkeypatch):
    import_pictures(project, tmp_path, a=picture("mine"))

    def refuse(name):
        raise PermissionError(name)

    monkeypatch.setattr(default_storage, "delete", refuse)
    with pytest.raises(PermissionError):
        remove(project.posts.get())
    assert project.posts.count() == 1
    assert Image.objects.count() == 1
    assert not Removal.objects.exists()


def test_what_was_picked_for_people_and_not_asked_yet_is_forgotten(project):
    going, staying = make_post(project), make_post(project)
    picked = [[going.pk, 0.5], [staying.pk, 0.4]]
    found = Targeting.objects.create(project=project, posts=2, state="ready", picked=picked)
    remove(going)
    found.refresh_from_db()
    assert (found.posts, found.picked) == (1, [[staying.pk, 0.4]])


def test_files_sent_and_reports_of_other_projects_are_left_alone(project, boss, tmp_path):
    other = make_project()
    line = "id,text\nx1,the very same words of a stranger\n"
    kept = [bring_in(other, write(tmp_path, line)), sent(other, line)]
    run = sent(project, line)
    remove(project.posts.get())
    assert not default_storage.exists(run.path)
    assert default_storage.exists(kept[1].path)
    assert [line["id"] for line in report_of(ImportRun.objects.get(pk=kept[0].pk))] == ["x1"]


def sent(project, text, **options):
    run = doors.receive(project, make_user(), ContentFile(text.encode(), name="posts.csv"))
    ImportRun.objects.filter(pk=run.pk).update(state=ImportState.QUEUED, **options)
    run.refresh_from_db()
    assert running.carry_out(run)
    return ImportRun.objects.get(pk=run.pk)


def test_a_report_keeps_its_other_lines(project, tmp_path):
    bad = f"=SUM(A1),{WORDS},\nb,hello there,\nc,{WORDS},nonsense\nd,another text,nonsense"
    run = bring_in(project, write(tmp_path, "id,text,label", bad))
    remove(project.posts.get(external_id="=SUM(A1)"))
    run.refresh_from_db()
    told = [(line["row"], line["id"], line["outcome"], line["detail"]) for line in report_of(run)]
    assert told[0] == ("1", "", "imported", "this post was removed since")
    assert told[1] == ("2", "b", "imported", "")
    assert told[2] == ("3", "", "refused", "this post was removed since")
    assert told[3][3] == "“nonsense” is not a label of this project (another text)"


# --- It does not come back


def test_an_import_that_brings_it_again_is_refused_the_row_and_says_when(project, tmp_path):
    table = write(tmp_path, "id,text", f"a,{WORDS}", "b,hello")
    bring_in(project, table)
    removal = remove(project.posts.get(external_id="a"))
    run = bring_in(project, table)
    assert (run.imported, run.already, run.refused) == (0, 1, 1)
    [_, line] = sorted(report_of(run), key=lambda line: line["outcome"])
    assert line["detail"] == f"this post was removed on request on {removal.at:%-d %B %Y}, and stays out"
    assert line["id"] == ""
    assert WORDS[:20] not in report_text(run)


@pytest.mark.parametrize("again", [f"other-id,{WORDS}", "a,with other words", f",{WORDS}"])
def test_it_is_known_by_its_content_and_by_its_id(project, tmp_path, again):
    bring_in(project, write(tmp_path, "id,text", f"a,{WORDS}"))
    remove(project.posts.get())
    run = bring_in(project, write(tmp_path, "id,text", again, name="again.csv"))
    assert (run.imported, run.refused) == (0, 1)


def test_another_project_may_hold_what_this_one_removed(project, tmp_path):
    table = write(tmp_path, "id,text", f"a,{WORDS}")
    bring_in(project, table)
    remove(project.posts.get())
    assert bring_in(make_project(), table).imported == 1


def test_the_picture_of_a_removed_post_is_not_stored_again(project, tmp_path):
    import_pictures(project, tmp_path, a=picture("mine"))
    remove(project.posts.get())
    run = bring_in(project, tmp_path / project.slug)
    assert (run.imported, run.refused) == (0, 1)
    assert not Image.objects.exists()


def test_a_file_that_brings_a_removed_post_again_is_not_kept(project):
    line = f"id,text\na,{WORDS}\nb,hello\n"
    sent(project, line)
    remove(project.posts.get(external_id="a"))
    run = sent(project, line)
    assert run.refused == 1
    assert not default_storage.exists(run.path)
    assert default_storage.exists(sent(project, "id,text\nb,hello\n").path)


def test_of_a_removal_while_an_import_ran_nothing_is_left_in_its_report(project, monkeypatch):
    record = running.record

    def remove_meanwhile(run, loaded):
        record(run, loaded)
        remove(project.posts.get(external_id="a"))

    monkeypatch.setattr(running, "record", remove_meanwhile)
    run = sent(project, f"id,text\na,{WORDS}\nb,hello\n")
    assert [line["id"] for line in report_of(run)] == ["", "b"]
    assert not default_storage.exists(run.path)


def test_a_project_that_removed_nothing_is_asked_once_a_batch_whether_it_did(project, django_assert_num_queries):
    rows = [str(n) for n in range(50)]
    with django_assert_num_queries(1):
        removing.Removed(project, rows, rows)
    remove(make_post(project))
    with django_assert_num_queries(2):
        removing.Removed(project, rows, rows)


# --- While others are at it


def seat(project, user, role=Role.REVIEWER):
    return Seat(project, user, role, "tab")


def test_a_reviewer_with_it_on_the_screen_is_told_and_goes_on(project, client):
    reviewer = make_member(project)
    going, other = make_post(project), make_post(project)
    for post in (going, other):
        Disagreement.objects.create(project=project, post=post, why="split")
    client.force_login(reviewer)

    def step(name, **sent):
        address = reverse(f"review_{name}", args=[project.slug])
        return client.post(address, json.dumps({"tab": "t"} | sent), "application/json")

    held = step("fill", holding=[]).json()["held"]
    on_screen = Disagreement.objects.get(post=going).pk
    remove(going)
    label = project.labels.first().pk
    answer = step("decide", pk=on_screen, label=label, key="k1", holding=held)
    assert answer.status_code in {200, 409}, answer.content
    assert answer.json()["gone"] == "This post is no longer in the project."
    assert step("renew", holding=held).json()["held"] == [pk for pk in held if pk != on_screen]
    assert step("votes", pk=on_screen).status_code == 409
    assert step("undo", key="k1").json()["gone"] == "There is nothing to take back."


def test_an_answer_that_went_with_its_post_cannot_be_taken_back(project):
    reviewer = make_member(project)
    post = make_post(project)
    Disagreement.objects.create(project=project, post=post, why="split")
    at = seat(project, reviewer)
    pk = queue.claim(at)
    deciding.decide(at, pk, deciding.Given(label=project.labels.first().pk), "k")
    remove(post)
    with pytest.raises(Gone, match="nothing to take back"):
        deciding.undo(at)
    assert deciding.let_stand(project.pk) == 0


def result(post, label="bullish"):
    return storing.Result(post.pk, Answer(label=label, raw=label), cost=None)


def test_a_voting_run_stores_the_others_and_carries_on(project, boss):
    going, staying = make_post(project), make_post(project)
    run = runs.start(project, boss, [keywords(project, boss)], queue=False)
    assert run.claim()
    part = run.parts.get()
    remove(going)
    failed = storing.Result(going.pk, failure="too many requests")
    for results in ([result(going), result(staying)], [failed], [result(going)]):
        storing.store(run, [storing.Batch(part, results)])
    assert list(Vote.objects.values_list("post", flat=True)) == [staying.pk]
    assert not Failure.objects.exists()
    assert run.parts.get().done == 1


def test_a_post_removed_while_its_batch_is_written_is_not_asked_for(project, boss):
    going, staying = make_post(project), make_post(project)
    run = runs.start(project, boss, [keywords(project, boss)], queue=False)
    assert run.claim()

    class Look:
        def __init__(self):
            self.run = run

        def beat(self):
            remove(going)

        def account(self):
            pass

    class At:
        part = run.parts.get()

    prompt = asking.Questions(run, At.part).writer.prompt
    batch = submitting.record(Look(), At(), submitting.Chunk(prompt, {going.pk: 1, staying.pk: 1}))
    assert list(batch.posts.values_list("post", flat=True)) == [staying.pk]


def test_a_picture_that_went_with_its_post_does_not_end_a_voting_run(project, boss, tmp_path, monkeypatch):
    import_pictures(project, tmp_path, a=picture("mine", 1), b=picture("yours", 5))
    voter = voters.create(project, boss, Makeup.told("offline", "keywords", {}))
    run = runs.start(project, boss, [voter], queue=False)
    questions = asking.Questions(run, run.parts.get())
    questions.writer.sees = True
    going, staying = project.posts.order_by("pk")
    monkeypatch.setattr(asking, "PAGE", 1)
    read = asking.picture_of

    def removed_meanwhile(image):
        if image == going.image and going.pk:
            remove(Post.objects.get(pk=going.pk))
        return read(image)

    monkeypatch.setattr(asking, "picture_of", removed_meanwhile)
    assert [pending.post for pending in questions.next_page()] == [staying.pk]


@pytest.mark.django_db(transaction=True)
def test_a_vote_on_its_way_waits_for_the_removal_and_costs_no_other_vote():
    """Two connections: the vote was looked at before the removal was committed."""
    project = make_project()
    boss = make_member(project, Role.ADMIN)
    going, staying = make_post(project), make_post(project)
    run = runs.start(project, boss, [keywords(project, boss)], queue=False)
    assert run.claim()
    part = run.parts.select_related("voter__project").get()
    begun, problems = threading.Event(), []

    def store():
        begun.set()
        try:
            storing.store(run, [storing.Batch(part, [result(going), result(staying)])])
        except Exception as problem:
            problems.append(problem)
        finally:
            connections.close_all()

    thread = threading.Thread(target=store)
    with transaction.atomic():
        remove(going)
        thread.start()
        begun.wait()
        wait_until_somebody_waits()
    thread.join()
    assert problems == []
    assert list(Vote.objects.values_list("post", flat=True)) == [staying.pk]


@pytest.mark.django_db(transaction=True)
def test_a_row_does_not_slip_in_behind_the_removal_of_its_post(tmp_path):
    project = make_project()
    table = write(tmp_path, "id,text", f"a,{WORDS}", "b,hello")
    bring_in(project, table)
    runs_there, problems = [], []

    def again():
        try:
            runs_there.append(bring_in(project, table))
        except Exception as problem:
            problems.append(problem)
        finally:
            connections.close_all()

    thread = threading.Thread(target=again)
    with transaction.atomic():
        remove(project.posts.get(external_id="a"))
        thread.start()
        wait_until_somebody_waits()
    thread.join()
    assert problems == []
    assert (runs_there[0].already, runs_there[0].refused) == (1, 1)
    assert list(project.posts.values_list("external_id", flat=True)) == ["b"]


def wait_until_somebody_waits():
    with connections["default"].cursor() as cursor:
        for _ in range(500):
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
            cursor.execute("SELECT pg_sleep(0.02)")
    raise AssertionError("nobody ever waited")


# --- The four ways


def test_the_page_says_what_goes_and_removes(project, boss, client):
    client.force_login(boss)
    post = make_post(project, WORDS, external_id="t3_secret")
    make_vote(post, "gpt", "bullish")
    address = reverse("post_remove", args=[project.slug, post.pk])
    assert address in client.get(post.get_absolute_url()).content.decode()
    page = client.get(address).content.decode()
    assert "cannot be undone" in page
    assert WORDS in page
    refused = client.post(address, {"reason": " "})
    assert refused.status_code == 422
    assert "Say why it is removed" in refused.content.decode()
    done = client.post(address, {"reason": "a court ordered it"}, follow=True)
    assert "The post was removed for good." in done.content.decode()
    assert not project.posts.exists()
    assert Removal.objects.get().by == boss
    again = client.post(address, {"reason": "a court ordered it"}, follow=True)
    assert "removed already" in again.content.decode()


def test_admins_see_who_removed_what_when_and_why(project, boss, client):
    removal = remove(make_post(project, WORDS), boss, "a court ordered it")
    remove(make_post(project), None, "its author asked")
    client.force_login(boss)
    page = client.get(reverse("removals", args=[project.slug])).content.decode()
    for told in (str(removal.post_id), "a court ordered it", "boss", "command line"):
        assert told in page
    assert WORDS not in page


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.LEAD])
def test_others_are_offered_nothing_of_the_kind(project, client, role):
    client.force_login(make_member(project, role))
    assert "Remove for legal" not in client.get(make_post(project).get_absolute_url()).content.decode()


def test_a_program_removes_with_a_reason(project, boss):
    post = make_post(project, WORDS)
    _, secret = ApiToken.issue(boss, "script")
    api = Client(headers={"authorization": f"Bearer {secret}"})
    address = f"/api/projects/{project.slug}/posts/{post.pk}"
    assert api.delete(address).status_code == 422
    assert api.delete(f"{address}?reason=a+court+ordered+it").status_code == 204
    assert api.delete(f"{address}?reason=a+court+ordered+it").status_code == 404
    assert Removal.objects.get().reason == "a court ordered it"


def test_the_command_removes_by_id_and_by_a_file_of_ids(project, tmp_path):
    for name in "abcd":
        make_post(project, f"words of {name}", external_id=name)
    out = io.StringIO()
    given = {"project": project.slug, "reason": "its author asked", "stdout": out}
    call_command("remove_posts", id=["a"], **given)
    (tmp_path / "ids.txt").write_text("\ufeffb\r\n\r\na\r\nnobody\r\nc\r\n")
    with pytest.raises(CommandError, match="nobody"):
        call_command("remove_posts", ids_from=tmp_path / "ids.txt", **given)
    assert list(project.posts.values_list("external_id", flat=True)) == ["d"]
    assert out.getvalue() == "1 removed for good.\n2 removed for good, 1 removed before.\n"


@pytest.mark.parametrize(
    "wrong", [{"id": ["d"], "project": "nowhere"}, {"id": ["d"], "reason": " "}, {"ids_from": Path("/nowhere")}]
)
def test_the_command_says_what_is_wrong(project, wrong):
    make_post(project, external_id="d")
    with pytest.raises(CommandError):
        call_command("remove_posts", **({"project": project.slug, "reason": "why"} | wrong))
    assert project.posts.count() == 1


def test_the_administration_deletes_no_post_by_itself(project, client):
    post = make_post(project)
    client.force_login(make_user("root", is_superuser=True, is_staff=True))
    address = reverse("admin:annotate_post_delete", args=[post.pk])
    assert client.get(address).status_code == client.post(address, {"post": "yes"}).status_code == 403
    listed = reverse("admin:annotate_post_changelist")
    client.post(listed, {"action": "delete_selected", "_selected_action": [post.pk], "post": "yes"})
    assert project.posts.exists()


def test_a_report_is_told_as_spreadsheets_read_it():
    """What `rewrite` reads is what the import wrote, byte for byte."""
    lines = [["row", "id", "outcome", "detail"], ["1", "a\nb", "imported", ""], ["2", "'=1", "refused", 'say "no"']]
    before, after = io.StringIO(newline=""), io.StringIO(newline="")
    csv.writer(before).writerows(lines)
    before.seek(0)
    assert leftovers.rewrite(before, after, {removing.hash_of("nothing")}, "") is False
    assert after.getvalue() == before.getvalue()
