"""Every page and list of a large project is looked at, and the slowest queries are told with their plans.

    LOAD_POSTS=1000000 python -m tests.load.walk [TOLD]

Each address is asked twice, and the second time is told: once warm, a query costs what its plan costs. On a busy
machine look at the buffers, which are the same every time, rather than at the milliseconds.
"""

import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.load import world

TOLD = int(sys.argv[1]) if len(sys.argv) > 1 else 20
SLOW = 0.3  # seconds for an address
WORTH_A_PLAN = 0.03
PATIENCE = 60  # seconds for a query

# What follows `posts?`, and, of the post's page, what its neighbours are sought by.
POSTS = [
    "", "as=list", "end=1", "state=settled&label=bullish", "state=contested&order=oldest", "state=waiting",
    "state=aside", "holdout=1", "voted=1", "since=2024-06-01&until=2024-06-30", "source=review",
    "source=consensus", "source=import",
    "voter=gpt", "voter=gpt&said=bearish", "voter=narrow", "voter=narrow&said=bullish&order=oldest",
    "voter=gpt&other=gemini&answers=different", "voter=gpt&other=gemini&answers=same",
    "voter=gpt&said=bullish&other=gemini&other_said=bearish", "voter=gpt&other=narrow&answers=both",
    "voter=narrow&other=gemini&answers=different&state=contested", "label=bullish&voter=narrow",
    "q=moon", "q=moon+dip", "q=unique777", "q=unique777&state=contested", "q=zebra", "q=moon&state=aside",
    "q=moon&label=bullish&since=2024-06-01", 'q="does+what+it+does"', "q=-market", "q=-market&order=oldest",
    "q=-market&state=waiting", "q=-moon", "q=moon+-market",
    "flag=cannot_tell", "flag=broken", "reviewer=person+7", "reviewer=nobody",
    "reviewer=person+7&label=bullish&order=oldest", "template=1",
]  # fmt: skip
PAGES = [
    "project", "settings", "guidelines", "people", "removals", "templates", "templates?page=200", "agreement", "votes",
    "voter_new", "voting_new", "voting_new?state=waiting", "voting_new?state=contested", "voting_new?q=moon", "review",
    "quality", "quality_headline", "quality_decided", "quality_machines", "quality_riskiest", "reviewers",
    "reviewer_me", "datasets", "dataset_new", "dataset_preview", "dataset_new?state=settled", "runs", "run_new",
    "run_preview", "run_compare", "studies", "study_new", "cascades", "cascade_new", "evaluations", "evaluation_new",
    "evaluation_compare", "prelabellings", "prelabelling_new", "prelabelling_preview",
    "prelabelling_new?state=contested", "rounds", "round_new", "round_preview", "playground", "label_studio",
    "imports", "import_new", "events", "events?verb=reviewed", "quality_decided?why=audit",
    "quality_decided?why=contested&verdict=new", "quality_decided?who=person+7", "quality_decided?voter=gpt",
    "prelabelling_preview?which=all", "prelabelling_preview?which=list&address=posts%3Fq%3Dmoon",
]  # fmt: skip
OF_ONE = {
    "reviewer": "person", "voter": "voter", "voter_edit": "fake", "voter_request": "fake", "run": "run",
    "serving": "run", "run_points": "run", "evaluation": "evaluation", "evaluation_posts": "evaluation",
    "evaluation_export": "evaluation", "prelabelling": "prelabelling", "prelabelling_conflicts": "prelabelling",
    "post": "post", "post_remove": "post",
}  # fmt: skip
OF_DATASET = ["dataset", "dataset_posts", "dataset_posts?q=moon", "dataset_posts?split=test", "dataset_card",
              "dataset_compare", "dataset_doubts"]  # fmt: skip
ADMIN = ["post", "vote", "disagreement", "review", "event", "image", "datasetitem", "prediction", "prelabel"]


@dataclass
class Asked:
    address: str
    sql: str
    params: Any
    seconds: float


def watch(asked: list[Asked], address: str) -> Callable[..., Any]:
    def timed(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            asked.append(Asked(address, sql, params, time.perf_counter() - began))

    return timed


def addresses(made: world.World) -> list[str]:
    from django.urls import reverse

    from annotate.models import Project, Voter

    project = Project.objects.get(pk=made.project)
    ones = {
        "person": made.people[7], "voter": Voter.objects.get(name="gpt").pk, "fake": Voter.objects.get(name="fake").pk,
        "run": project.runs.all()[0].pk, "evaluation": project.evaluations.all()[0].pk,
        "prelabelling": project.prelabellings.all()[0].pk, "post": project.posts.get(external_id="p777").pk,
    }  # fmt: skip

    def at(name: str, /, **more: Any) -> str:
        name, _, query = name.partition("?")
        if name == "evaluation_export":
            more |= {"format": "csv"}
        address = reverse(name, kwargs={"slug": made.slug, **more})
        return f"{address}?{query}" if query else address

    listed = ["/", "/account", *(at(name) for name in PAGES)]
    listed += [f"{at(name, **one)}?{query}" for name, one in (("posts", {}), ("post", {"pk": ones["post"]}))
               for query in POSTS]  # fmt: skip
    listed += [at(name, pk=ones[one]) for name, one in OF_ONE.items()]
    listed += [at(name, name="v1") for name in OF_DATASET]
    listed += [f"/api/projects{rest}" for rest in ("", *(f"/{made.slug}{part}" for part in (
        "", "/posts", "/posts?q=moon", "/posts?voter=gpt&other=gemini&answers=different", f"/posts/{ones['post']}",
        "/datasets", "/datasets/v1", "/datasets/v1/card", "/runs", "/evaluations", "/prelabellings", "/rounds",
        f"/prelabellings/{ones['prelabelling']}", f"/evaluations/{ones['evaluation']}/predictions",
    )))]  # fmt: skip
    listed += [f"/admin/{'modeling' if name in ADMIN[6:] else 'annotate'}/{name}/" for name in ADMIN]
    return list(dict.fromkeys(listed))


def walk(made: world.World) -> tuple[dict[str, float], list[Asked]]:
    from django.core.cache import cache
    from django.db import connection
    from django.test import Client

    from annotate.models import User

    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(pk=made.admin))
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = '{PATIENCE}s'")
    took: dict[str, float] = {}
    asked: list[Asked] = []
    for address in addresses(made):
        for turn in range(2):
            cache.clear()
            queries: list[Asked] = []
            began = time.perf_counter()
            with connection.execute_wrapper(watch(queries, address)):
                response: Any = client.get(address, HTTP_HOST="127.0.0.1")
                b"".join(response) if response.streaming else response.content
            took[address] = time.perf_counter() - began
            if turn == 0 and took[address] < 0.1:
                break
        asked += queries
        slowest = max((one.seconds for one in queries), default=0)
        print(f"{1000 * took[address]:8.0f} ms {response.status_code} {len(queries):3} queries, the slowest "
              f"{1000 * slowest:7.0f} ms  {address}", flush=True)  # fmt: skip
    return took, asked


def tell_plans(asked: list[Asked]) -> None:
    from django.db import connection

    worst: dict[str, Asked] = {}
    for one in asked:
        shape = re.sub(r"\d+", "?", one.sql)
        if one.seconds > WORTH_A_PLAN and one.seconds > worst.get(shape, one).seconds - 1e-9:
            worst[shape] = one
    for one in sorted(worst.values(), key=lambda one: -one.seconds)[:TOLD]:
        print(f"\n{1000 * one.seconds:.0f} ms in {one.address}\n{one.sql[:1500]}\n{str(one.params)[:500]}")
        if one.sql.lstrip().upper().startswith(("SELECT", "WITH")) and "UPDATE " not in one.sql:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {one.sql}", one.params)
                print("\n".join(f"    {line}" for (line,) in cursor.fetchall()), flush=True)


def main() -> None:
    made = world.make(int(os.environ.get("LOAD_POSTS", "1000000")))
    took, asked = walk(made)
    tell_plans(asked)
    slow = {address: seconds for address, seconds in took.items() if seconds > SLOW}
    print(f"\n{len(took)} addresses, {len(slow)} above {1000 * SLOW:.0f} ms")


if __name__ == "__main__":
    main()
