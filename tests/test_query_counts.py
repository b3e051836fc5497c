"""Every page asks the database as often for many rows as for few, and no oftener than is written down here.

A page that asks once for each row is told by name, with the query that it repeats. Whoever adds an address adds a line
to FIGURES; whoever makes a page ask more, for a good reason, writes the larger figure there.
"""

import json
import re
import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotate.models import ApiToken, Disagreement, Event, LabelStudioRun, Project, User
from modeling.models import Question, Serving
from tests.browser.test_accessibility import PAGES, make_people, make_things
from tests.make import make_member, make_post, make_project, make_vote
from tests.multiplied import multiply
from tests.test_access import PATTERNS, ROWS

# The most that an address asks, whatever it shows.
FIGURES = """
  5 home
  0 login
  4 invited
  4 account
  8 people
  2 project_new
 10 project
  8 settings
  6 guidelines
 13 posts
 13 post
 10 post_remove
  6 removals
  6 templates
 12 agreement
 15 votes
  5 voter_new
 16 voter
  6 voter_edit
 18 voter_request
 17 voting_new
 14 voting_run
 14 review
 14 quality
 11 quality_decided
 12 quality_machines
  8 quality_riskiest
  7 quality_targeting
  9 reviewers
  9 reviewer
  8 reviewer_me
  7 datasets
 25 dataset_new
  8 dataset
 10 dataset_posts
 10 dataset_compare
  7 dataset_card
 15 dataset_doubts
  7 runs
  8 run_new
  9 run
 30 serving
  6 run_compare
  8 studies
  8 study_new
  9 study
  7 cascades
 13 cascade_new
 18 cascade
 11 evaluations
 13 evaluation_new
 10 evaluation
 11 evaluation_posts
  7 evaluation_compare
  7 prelabellings
 21 prelabelling_new
 16 prelabelling
 10 prelabelling_conflicts
  9 rounds
 26 round_new
 21 round
  6 playground
 20 playground_question
 19 label_studio
  6 imports
  5 import_new
  7 import
  5 label_colours
  8 quality_headline
  4 import_progress
 12 voting_progress
 19 dataset_preview
  4 dataset_progress
  5 run_preview
  7 run_progress
  6 run_points
  4 run_machine
  4 run_receipt
  7 run_bundle
  5 study_preview
  7 study_progress
  4 cascade_progress
  6 evaluations_export
  6 evaluation_export
  4 evaluation_progress
  7 prelabelling_preview
  4 prelabelling_progress
 23 round_preview
  4 round_progress
  4 api:projects
  7 api:project
  5 api:posts
  6 api:post
  5 api:import_state
  6 api:datasets
 18 api:dataset_preview
  6 api:dataset
  6 api:dataset_card
  5 api:runs
  5 api:run
  7 api:run_points
  7 api:studies
  7 api:study
  5 api:cascades
 16 api:cascade
  5 api:evaluations
  7 api:evaluation
  8 api:evaluation_predictions
  6 api:servings
  5 api:prelabellings
 12 api:prelabelling
  5 api:rounds
 19 api:round
 11 api:answer
  5 image
  5 thumb
  7 models
  7 model
  9 serving_progress
  9 label_studio_progress
 11 dataset_download
  6 api:image
  6 api:serving
 11 api:dataset_download
 11 events
 11 events_export
 11 site_events
 11 site_events_export
  9 webhooks
  4 storage
  9 webhook
  9 webhook_deliveries
  9 webhook_delete
  9 api:events
  9 api:webhooks
  9 api:webhook_deliveries
"""

MOST = {name: int(figure) for figure, name in map(str.split, FIGURES.strip().split("\n"))}

# What is no page of PAGES, and pages with a question in their address: each with what it shows.
BESIDE = """
home                            nothing
posts?as=list                   project
posts?q=moon                    project
posts?voter=gpt&said=bullish&other=gemini&answers=different project
post?state=settled              settled_post
label_colours                   project
image                           picture
thumb                           picture
quality_headline                project
import_progress                 running_import
label_studio_progress           label_studio_run
voting_progress                 running_votes
dataset_preview                 project
dataset_progress                freezing_dataset
dataset_download?format=jsonl&split=train frozen_dataset
run_preview                     project
run_progress                    running_run
run_points                      running_run
run_machine                     running_run
run_receipt                     done_run
run_bundle                      queued_run
study_preview                   project
study_progress                  running_study
cascade_progress                lacking_cascade
evaluations_export              project
evaluation_export               done_evaluation
evaluation_progress             running_evaluation
serving_progress?serving={serving} served_run
prelabelling_preview            project
prelabelling_progress           running_pre-labelling
round_preview                   project
round_progress                  round_at_work
models                          token
model                           token
api:projects                    nothing
api:project                     project
api:posts                       project
api:post                        settled_post
api:image                       picture
api:import_state                done_import
api:datasets                    project
api:dataset_preview             project
api:dataset                     frozen_dataset
api:dataset_card                frozen_dataset
api:dataset_download?format=jsonl&split=train frozen_dataset
api:runs                        project
api:run                         done_run
api:run_points                  done_run
api:studies                     project
api:study                       done_study
api:cascades                    project
api:cascade                     fitted_cascade
api:evaluations                 project
api:evaluation                  done_evaluation
api:evaluation_predictions      done_evaluation
api:servings                    project
api:serving                     serving
api:prelabellings               project
api:prelabelling                settled_pre-labelling
api:rounds                      project
api:round                       kept_round
api:answer                      answered_question
events_export                   project
site_events_export              nothing
api:events                      project
api:webhooks                    project
api:webhook_deliveries          webhook
webhook_deliveries              webhook
"""
# They send the reader elsewhere, hand out a file as it lies, or come with a library.
ASK_LITTLE = {
    "login_once", "password", "token_new", "review_keys", "invite", "import_report", "run_modules", "api:api-root",
    "api:openapi-view", "api:openapi-json", "admin:index", "admin:login", "healthz", "readyz", "metrics", "sign_on",
    "sign_on_back",
}  # fmt: skip

Look = tuple[str, str, str, str]  # the address' name, what follows the question mark, what it shows, who looks


def looks() -> list[Look]:
    beside = [
        (*row.split()[0].partition("?")[::2], row.split()[1].replace("_", " ")) for row in BESIDE.split("\n") if row
    ]
    return [(name, "", thing, who) for name, thing, who in PAGES] + [
        (name, query, thing, "admin") for name, query, thing in beside
    ]


class Visitors:
    """Who looks at what, in a project that is full of things."""

    def __init__(self, settings: Any) -> None:
        self.people = make_people()
        self.things = make_things(self.people, settings)
        self.project = Project.objects.get(slug="memes")
        self.clients = {who: self.client(user) for who, user in self.people.items()}
        picture = self.project.posts.exclude(image=None)[0].image
        here, run = {"slug": "memes"}, self.things["done run"]["pk"]
        self.serving = Serving.objects.get(state="running").pk
        self.things |= {
            "picture": here | {"name": picture.file_name}, "token": {"name": f"memes/run-{run}"},
            "label studio run": here | {"pk": LabelStudioRun.objects.get(state="running").pk},
            "serving": here | {"pk": self.serving},
        }  # fmt: skip
        Question.objects.update(asked=timezone.now() - timedelta(minutes=5))  # who has waited long is told more
        admin = self.people["admin"]
        assert admin
        Event.record("looked", user=admin, project=self.project)  # downloads are noted, and those who load them
        token, self.token = ApiToken.issue(admin, "counted")
        ApiToken.objects.filter(pk=token.pk).update(last_used=timezone.now() + timedelta(days=1))  # told once a minute

    def client(self, user: User | None) -> Client:
        client = Client()
        if user:
            client.force_login(user)
        return client

    def walk(self) -> dict[Look, Counter[str]]:
        return {look: self.ask(look) for look in looks()}

    def ask(self, look: Look) -> Counter[str]:
        name, query, thing, who = look
        headers = {"Authorization": f"Bearer {self.token}"} if thing == "token" else {}
        return ask(self.clients[who], f"{self.address(name, thing)}?{query.format(serving=self.serving)}", headers)

    def address(self, name: str, thing: str) -> str:
        """The API calls by other words what the pages call `pk`."""
        given = self.things[thing]
        others = {"format": "json", "ending": "csv", "answer_id": given.get("batch")} | (
            {"name": thumb_of(given["name"])} if name == "thumb" else {}
        )
        wanted = next(pattern for known, pattern in PATTERNS if known == name).regex.groupindex
        return reverse(name, kwargs={key: others.get(key) or given.get(key) or given.get("pk") for key in wanted})


def thumb_of(name: str) -> str:
    return f"{name.partition('.')[0]}.webp"


def ask(client: Client, address: str, headers: dict[str, str]) -> Counter[str]:
    """Its queries, without what is kept in memory for a moment, and without the numbers and words in them."""
    cache.clear()
    with CaptureQueriesContext(connection) as asked:
        response: Any = client.get(address, headers=headers)
        b"".join(response) if response.streaming else response.content
    assert response.status_code == 200, (address, response.status_code)
    return Counter(plain(query["sql"]) for query in asked.captured_queries)


def plain(sql: str) -> str:
    sql = re.sub(r"'(?:[^']|'')*'", "?", sql)
    sql = re.sub(r"\b\d+(\.\d+)?\b", "?", sql)
    return re.sub(r"\?(, \?)+", "?", sql)


@pytest.mark.django_db
def test_no_page_asks_more_where_there_is_more(settings, subtests):
    visitors = Visitors(settings)
    multiply(1)  # where there is nothing at all, less is asked
    few = visitors.walk()
    multiply(1)  # nine times as much as there was: a query for each row is many more
    make_others(visitors)
    many = visitors.walk()
    for look, asked in many.items():
        name, query, thing, who = look
        with subtests.test(f"{name} {query} {thing} {who}"):
            assert asked.total() <= few[look].total(), told(asked - few[look])
            assert asked.total() <= MOST[name], f"{asked.total()} queries, of which these more than once: " + told(
                Counter({sql: n for sql, n in asked.items() if n > 1})
            )


def make_others(visitors: Visitors) -> None:
    """Projects, too."""
    for _ in range(4):
        project = make_project()
        make_post(project, label="bullish")
        for who in ("admin", "reviewer"):
            project.memberships.create(user=visitors.people[who])


def told(repeated: Counter[str]) -> str:
    return "\n".join(f"{n} times: {sql[:600]}" for sql, n in repeated.most_common(4))


def test_every_address_has_a_figure():
    shown = {name for name, *_ in looks()}
    assert MOST.keys() == shown
    assert {row[1] for row in ROWS if row[0] == "GET"} - shown - ASK_LITTLE == set()


# What reviewers wait for: a figure each, and no more with a full queue than with a short one.
STEPS = {"fill": 14, "decide": 20, "votes": 9, "renew": 8, "undo": 28}
BY_PROGRAMS = {"queue/next": 14, "review": 22, "undo": 21}


@pytest.mark.django_db
def test_a_step_of_reviewing_asks_as_much_in_a_long_queue_as_in_a_short_one():
    few, many = steps_in(8), steps_in(60)
    grown = {step: told(many[step] - asked) for step, asked in few.items() if many[step].total() > asked.total()}
    assert not grown
    most = STEPS | {f"api {step}": n for step, n in BY_PROGRAMS.items()}
    assert {step: asked.total() for step, asked in many.items() if asked.total() > most[step]} == {}


def steps_in(posts: int) -> dict[str, Counter[str]]:
    project = make_project(votes_shown="asked")
    members = [make_member(project) for _ in range(posts // 2)]
    for n in range(posts):
        post = make_post(project, state="contested")
        for voter in range(posts // 4 + 1):
            make_vote(post, f"voter {voter}", ("bearish", "bullish")[voter % 2], confidence=0.9)
        Disagreement.objects.create(project=project, post=post, why="split", rank=n)
    client, program = Client(), Client()
    client.force_login(members[0])
    program.force_login(members[1])
    label, room, api = project.labels.all()[0].pk, f"/p/{project.slug}/review", f"/api/projects/{project.slug}"
    found: dict[str, Counter[str]] = {}

    def step(name: str, address: str, sent: dict[str, Any], by: Client = client, method: str = "POST") -> Any:
        cache.clear()
        with CaptureQueriesContext(connection) as asked:
            response = by.generic(method, address, json.dumps(sent), "application/json")
        assert response.status_code in {200, 204}, (name, response.content[:300])
        found[name] = Counter(plain(query["sql"]) for query in asked.captured_queries)
        return response.json() if response.content else {}

    for _ in range(2):  # the first time fills what is remembered for good
        tab = {"tab": "one"}
        held = step("fill", f"{room}/fill", tab | {"holding": []})["held"]
        step("votes", f"{room}/votes", tab | {"pk": held[0]})
        step("renew", f"{room}/renew", tab | {"holding": held})
        answer = tab | {"pk": held[0], "label": label, "key": uuid.uuid4().hex, "holding": held[1:]}
        step("decide", f"{room}/decide", answer)
        step("undo", f"{room}/undo", tab | {"key": answer["key"]})
        client.post(f"{room}/release", tab | {"pks": ",".join(map(str, held))})
        (card,) = step("api queue/next", f"{api}/queue/next", {}, program)["cards"]
        place = f"/api/disagreements/{card['id']}/review"
        step("api review", place, {"label": "bullish", "key": uuid.uuid4().hex}, program)
        step("api undo", place, {}, program, "DELETE")
    return found
