"""A classifier's first guesses come in as votes with probabilities, in whatever shape they were written."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client

from annotate.importing import columns, topk
from annotate.models import ImportRun, Post, Project, Role, Vote
from annotate.models.importing import ImportState
from tests.make import make_member, make_post, make_project

pytestmark = pytest.mark.django_db
BREEDS = ("Maine Coon", "Persian", "Sphynx")


@pytest.fixture
def project() -> Project:
    return make_project("Cats", labels=BREEDS)


def bring_in(project: Project, path: Path, **options: Any) -> ImportRun:
    call_command("import_posts", str(path), project=project.slug, stdout=io.StringIO(), **options)
    run = project.imports.first()
    assert run
    return run


def write(folder: Path, text: str, name: str = "top.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def report_of(run: ImportRun) -> list[dict[str, str]]:
    with default_storage.open(run.report) as report:
        return list(csv.DictReader(io.StringIO(report.read().decode("utf-8-sig"))))


def votes_of(project: Project) -> list[tuple[str, str, str, float | None, dict[str, float] | None]]:
    told = Vote.objects.filter(post__project=project).order_by("post__external_id", "voter__name")
    return [
        (vote.post.external_id, vote.voter.name, vote.label.name if vote.label else "", vote.confidence,
         vote.probabilities) for vote in told.select_related("post", "voter", "label")
    ]  # fmt: skip


def make_cats(project: Project) -> None:
    for name in "ab":
        make_post(project, f"cat {name}", external_id=name)


class TestColumns:
    def test_of_a_voters_first_guesses_are_one_vote(self, project, tmp_path):
        run = bring_in(project, write(tmp_path, (
            "id,text,convnext_top1,convnext_p1,convnext_top2,convnext_p2\n"
            "a,one,Persian,0.7,Sphynx,0.2\nb,two,Maine_Coon,0.5,Persian,0.25\n"
        )))  # fmt: skip
        assert votes_of(project) == [
            ("a", "convnext", "Persian", 0.7, {"Persian": 0.7, "Sphynx": 0.2}),
            ("b", "convnext", "Maine Coon", 0.5, {"Maine Coon": 0.5, "Persian": 0.25}),
        ]
        assert (run.imported, run.votes) == (2, 2)
        assert Post.objects.get(external_id="a").meta == {}

    @pytest.mark.parametrize("header", [
        "net_label_1,net_prob_1,net_label_2,net_prob_2", "net top1 label,net top1 score,net top2 label,net top2 score",
        "net.pred.0,net.conf.0,net.pred.1,net.conf.1", "net-class-1,net-probability-1,net-class-2,net-probability-2",
    ])  # fmt: skip
    def test_bear_the_names_that_programs_give_them(self, header, project, tmp_path):
        text = f"id,text,{header}\na,one,Persian,70%,Sphynx,20%\n"
        bring_in(project, write(tmp_path, text.replace(",", "\t"), "top.tsv"))
        assert votes_of(project) == [("a", "net", "Persian", 0.7, {"Persian": 0.7, "Sphynx": 0.2})]

    def test_without_a_name_are_whose_we_are_told(self, project, tmp_path):
        path = write(tmp_path, "id,text,pred_1,prob_1\na,one,Persian,0.7\n")
        bring_in(project, path)
        assert [vote[1] for vote in votes_of(project)] == ["classifier"]
        bring_in(project, path, voter="ConvNeXt-T")
        assert sorted(vote[1] for vote in votes_of(project)) == ["ConvNeXt-T", "classifier"]

    def test_of_a_parquet_file_too_and_up_to_a_hundred(self, project, tmp_path):
        many = {f"net_top{n}": [f"other {n}"] for n in range(3, 101)} | {f"net_p{n}": [0.001] for n in range(3, 101)}
        told = {"id": ["a"], "text": ["one"], "net_top1": ["Persian"], "net_p1": [0.6], "net_top2": ["Sphynx"],
                "net_p2": [0.2]} | many  # fmt: skip
        pq.write_table(pa.table(told), tmp_path / "top.parquet")
        bring_in(project, tmp_path / "top.parquet")
        assert votes_of(project) == [("a", "net", "Persian", 0.6, {"Persian": 0.6, "Sphynx": 0.2})]
        assert Post.objects.get().meta == {}

    def test_that_are_numbered_for_another_reason_are_no_votes(self):
        assert topk.rankings(["label_1", "label_2", "step1", "price_1", "top2", "p2"]) == []
        sample = [{"id": "a", "text": "gm", "name_1": "ada", "score_1": "very good"}]
        assert columns.guess(list(sample[0]), sample, list(BREEDS)).topk == ()

    def test_with_a_gap_end_there(self):
        [one] = topk.rankings(["top1", "p1", "top2", "p2", "top4", "p4"])
        assert one.pairs == (("top1", "p1"), ("top2", "p2"))


class TestObjects:
    @pytest.mark.parametrize(("told", "voter"), [
        ({"votes": {"net": {"label": "Persian", "probabilities": {"Persian": 0.7, "Sphynx": 0.2}}}}, "net"),
        ({"predictions": [{"label": "Persian", "score": 0.7}, {"label": "Sphynx", "score": 0.2}]}, "classifier"),
        ({"predictions": [[{"label": "Persian", "score": 0.7}, {"label": "Sphynx", "score": 0.2}]]}, "classifier"),
        ({"net": [{"label": "Persian", "score": 0.7}, {"label": "Sphynx", "score": 0.2}]}, "net"),
        ({"probabilities": {"Sphynx": 0.2, "Persian": 0.7}}, "classifier"),
    ])  # fmt: skip
    @pytest.mark.parametrize("name", ["top.json", "top.jsonl"])
    def test_tell_votes_in_json(self, told, voter, name, project, tmp_path):
        record = {"id": "a", "text": "one", **told}
        bring_in(project, write(tmp_path, json.dumps([record] if name == "top.json" else record), name))
        assert votes_of(project) == [("a", voter, "Persian", 0.7, {"Persian": 0.7, "Sphynx": 0.2})]

    def test_of_several_voters_lie_side_by_side(self, project, tmp_path):
        votes = {"net": {"label": "Persian", "confidence": 0.9, "reason": "flat face"}, "gpt": "Sphynx",
                 "shy": {"label": None, "probabilities": {"Persian": 0.4}}}  # fmt: skip
        bring_in(project, write(tmp_path, json.dumps({"id": "a", "text": "one", "votes": votes}), "top.jsonl"))
        assert votes_of(project) == [
            ("a", "gpt", "Sphynx", None, None), ("a", "net", "Persian", 0.9, {"Persian": 0.9}),
            ("a", "shy", "", None, {"Persian": 0.4}),
        ]  # fmt: skip
        assert Vote.objects.get(voter__name="net").reason == "flat face"

    def test_in_a_cell_of_a_table_are_read_as_well(self, project, tmp_path):
        path = tmp_path / "top.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([
                ["id", "text", "predictions"], ["a", "one", json.dumps([{"label": "Persian", "score": 0.7}])]
            ])  # fmt: skip
        bring_in(project, path)
        assert votes_of(project) == [("a", "classifier", "Persian", 0.7, {"Persian": 0.7})]


class TestProbabilities:
    def said(self, project, tmp_path, *guesses: tuple[str, object]) -> Vote:
        told = [{"label": label, "score": sure} for label, sure in guesses]
        bring_in(project, write(tmp_path, json.dumps({"id": "a", "text": "one", "predictions": told}), "top.jsonl"))
        return Vote.objects.get()

    def test_of_what_is_no_label_go_to_nobody(self, project, tmp_path):
        vote = self.said(project, tmp_path, ("Persian", 0.5), ("dog", 0.3), ("SPHYNX", 0.1))
        assert vote.probabilities == {"Persian": 0.5, "Sphynx": 0.1}

    def test_where_the_first_guess_is_no_label_it_abstains_and_says_why(self, project, tmp_path):
        vote = self.said(project, tmp_path, ("dog", 0.6), ("Persian", 0.3))
        assert (vote.label, vote.probabilities, vote.confidence) == (None, {"Persian": 0.3}, 0.6)
        assert vote.reason == "answered “dog”, which is not a label"

    def test_in_percent_are_hundredths_all_of_them(self, project, tmp_path):
        vote = self.said(project, tmp_path, ("Persian", 83.0), ("Sphynx", 0.5))
        assert vote.probabilities == {"Persian": 0.83, "Sphynx": 0.005}

    def test_that_add_up_to_more_than_all_are_left_out_with_a_word(self, project, tmp_path):
        vote = self.said(project, tmp_path, ("Persian", 0.9), ("Sphynx", 0.8))
        assert (vote.label.name, vote.confidence, vote.probabilities) == ("Persian", 0.9, None)
        assert vote.reason == "its probabilities add up to 1.70, and were left out"

    def test_that_are_no_numbers_say_nothing(self, project, tmp_path):
        vote = self.said(project, tmp_path, ("Persian", 0.5), ("Sphynx", "NaN"), ("Maine Coon", -3))
        assert vote.probabilities == {"Persian": 0.5}


class TestPostsThatAreThere:
    TOP = "id,net_top1,net_p1,net_top2,net_p2\na,Persian,0.7,Sphynx,0.2\nb,Sphynx,0.6,Persian,0.3\n"

    def test_get_the_votes_of_a_file_without_texts_or_pictures(self, project, tmp_path):
        make_cats(project)
        run = bring_in(project, write(tmp_path, self.TOP))
        assert (run.imported, run.already, run.refused, run.votes) == (0, 2, 0, 2)
        assert len(votes_of(project)) == 2
        assert sorted(project.posts.values_list("external_id", "text")) == [("a", "cat a"), ("b", "cat b")]
        assert [line["detail"] for line in report_of(run)] == ["", ""]

    def test_get_them_once(self, project, tmp_path):
        make_cats(project)
        bring_in(project, write(tmp_path, self.TOP))
        before = list(Post.objects.order_by("pk").values()), list(Vote.objects.order_by("pk").values())
        run = bring_in(project, write(tmp_path, self.TOP))
        assert run.votes == 0
        assert (list(Post.objects.order_by("pk").values()), list(Vote.objects.order_by("pk").values())) == before

    def test_must_be_there(self, project, tmp_path):
        make_cats(project)
        run = bring_in(project, write(tmp_path, self.TOP + "c,Persian,0.5,Sphynx,0.4\n"))
        assert (run.refused, project.posts.count()) == (1, 2)
        assert report_of(run)[-1]["detail"] == (
            "this row has neither text nor a picture, and there is no post “c” in this project that it could be a vote "
            "on"
        )

    def test_are_settled_by_them_as_by_any_vote(self, project, tmp_path):
        make_cats(project)
        bring_in(project, write(tmp_path, self.TOP))
        bring_in(project, write(tmp_path, self.TOP.replace("net", "other").replace("b,Sphynx,0.6", "b,Persian,0.6")))
        states = dict(project.posts.values_list("external_id", "state"))
        assert states == {"a": "settled", "b": "contested"}

    def test_get_those_of_several_voters_a_row_each(self, project, tmp_path):
        make_cats(project)
        told = [{"id": "a", "votes": {name: {"label": "Persian", "confidence": 0.8}}} for name in ("one", "two")]
        bring_in(project, write(tmp_path, "\n".join(map(json.dumps, told)), "top.jsonl"))
        assert [vote[1] for vote in votes_of(project)] == ["one", "two"]

    def test_are_named_by_an_id_or_nothing_is_read(self, project, tmp_path):
        with pytest.raises(CommandError, match="No column of texts or pictures"):
            bring_in(project, write(tmp_path, "net_top1,net_p1\nPersian,0.7\n"))


class TestTheApi:
    @pytest.mark.parametrize(("asked", "kept"), [("%00Net%20", "Net"), ("%00%20%00", None), ("x" * 500, "x" * 120)])
    def test_a_name_that_no_database_holds_is_cleaned(self, asked, kept, client, project):
        client.force_login(make_member(project, Role.ADMIN))
        address = f"/api/projects/{project.slug}/posts?voter={asked}"
        assert client.generic("POST", address, b'{"text": "gm"}', "application/x-ndjson").status_code == 202
        assert ImportRun.objects.get().options.get("voter") == kept


class TestThePage:
    @pytest.fixture
    def client(self, project) -> Client:
        client = Client()
        client.force_login(make_member(project, Role.ADMIN, "ada"))
        return client

    def upload(self, client: Client, project: Project, text: str) -> ImportRun:
        file = SimpleUploadedFile("top.csv", text.encode())
        client.post(f"/p/{project.slug}/imports/new", {"door": "file", "file": file})
        return project.imports.get()

    def begin(self, client: Client, run: ImportRun, **data: Any) -> Any:
        return client.post(f"/p/{run.project.slug}/imports/{run.pk}/start", data)

    def test_shows_what_was_understood_and_asks_whose_it_is(self, client, project):
        run = self.upload(client, project, "id,pred_1,prob_1,pred_2,prob_2\na,Persian,0.7,Sphynx,0.2\n")
        told = client.get(run.get_absolute_url()).content.decode()
        assert "Votes with probabilities" in told
        assert "pred_1 to pred_2" in told
        assert "Whose predictions these are" in told

    def test_takes_what_is_ticked(self, client, project, django_capture_on_commit_callbacks):
        from annotate.importing.running import carry_out

        make_cats(project)
        run = self.upload(client, project, "id,pred_1,prob_1,pred_2,prob_2\na,Persian,0.7,Sphynx,0.2\n")
        assert self.begin(client, run, id="id", topk=["pred_1"], voter="My ConvNeXt").status_code == 302
        run.refresh_from_db()
        assert run.options["columns"]["topk"] == ["pred_1"]
        assert carry_out(run)
        assert run.state == ImportState.DONE
        assert votes_of(project) == [("a", "My ConvNeXt", "Persian", 0.7, {"Persian": 0.7, "Sphynx": 0.2})]
        assert "Votes that came along" in client.get(run.get_absolute_url()).content.decode()

    def test_says_what_is_missing(self, client, project):
        run = self.upload(client, project, "id,pred_1,prob_1\na,Persian,0.7\n")
        answer = self.begin(client, run, id="id")
        assert answer.status_code == 422
        assert "tick whose votes" in answer.content.decode()

    def test_of_a_file_without_such_votes_asks_nothing_more(self, client, project):
        run = self.upload(client, project, "id,text\na,gm\n")
        assert "probabilities" not in client.get(run.get_absolute_url()).content.decode()


def test_consensus_does_not_wait_for_a_classifier_that_knows_some_posts(tmp_path):
    project = make_project()
    path = tmp_path / "one.csv"
    path.write_text("id,text,net_top1,net_p1\na,gm,bullish,0.9\nb,gn,,\n")
    bring_in(project, path)
    voter = project.voters.get(name="net")
    assert not voter.required
