"""First, last and filtered pages of a project with a million posts, over real HTTP.

Baseline: the bare login page, which asks the database nothing.
"""

import random

import httpx

from tests.bench import ground

POSTS = 1_000_000
ASKED = 200

WORDS = ["moon", "rug", "pull", "diamond", "hands", "lambo", "chart", "crash", "pump", "dump",
         "wagmi", "ngmi", "gm", "whale", "dip", "buy", "sell", "hold", "bag", "exit"]  # fmt: skip

FILL = """
INSERT INTO annotate_post (project_id, external_id, text, source, at, meta, state, label_id, label_source,
    holdout, vote_count, content_hash, created)
SELECT %(project)s, 'p' || n, (%(words)s::text[])[1 + n %% 20] || ' ' || (%(words)s::text[])[1 + (n / 7) %% 20]
    || ' ' || 'unique' || (n %% 50000) || ' the market does what it does, again and again', 'made',
    timestamptz '2024-01-01' + n * interval '30 seconds', '{}',
    (ARRAY['settled','settled','settled','settled','contested'])[1 + n %% 5],
    CASE WHEN n %% 5 = 4 THEN NULL ELSE (%(labels)s::bigint[])[1 + n %% 3] END,
    CASE WHEN n %% 5 = 4 THEN '' ELSE 'consensus' END,
    n %% 10000 = 0, 2, md5(n::text), now()
FROM generate_series(1, %(posts)s) AS n
"""

VOTES = """
INSERT INTO annotate_vote (post_id, voter_id, label_id, reason, text_reading, image_reading, raw, created)
SELECT id, %(voter)s, coalesce(label_id, (%(labels)s::bigint[])[1 + id %% 3]), '', '', '', '', now()
FROM annotate_post WHERE project_id = %(project)s AND id %% 100 < %(share)s
"""


def fill() -> tuple[object, str]:
    from django.db import connection

    from annotate.models import Voter
    from tests.make import make_member, make_project

    project = make_project("Large")
    names = {"project": project.pk, "posts": POSTS, "words": WORDS,
             "labels": list(project.labels.values_list("pk", flat=True))}  # fmt: skip
    with connection.cursor() as cursor:
        took = ground.seconds(lambda: cursor.execute(FILL, names))
        for voter, share in (("wide", 100), ("narrow", 1)):
            cursor.execute(VOTES, names | {"voter": Voter.imported(project, voter).pk, "share": share})
        cursor.execute("VACUUM ANALYZE")
    print(f"{POSTS:,} posts made in {took:.0f} s")
    return make_member(project), project.slug


def urls(slug: str) -> dict[str, str]:
    posts = f"/p/{slug}/posts"
    return {
        "bare page (baseline)": "/login",
        "project's home": f"/p/{slug}/",
        "first page": posts,
        "last page": f"{posts}?end=1",
        "state and label": f"{posts}?state=settled&label=bullish",
        "contested, oldest first": f"{posts}?state=contested&order=oldest",
        "locked test set": f"{posts}?holdout=1",
        "a month": f"{posts}?since=2024-06-01&until=2024-06-30",
        "voter on all, one label": f"{posts}?voter=wide&said=bearish",
        "voter on 1%": f"{posts}?voter=narrow",
        "frequent word": f"{posts}?q=moon",
        "two frequent words": f"{posts}?q=moon+dip",
        "rare word": f"{posts}?q=unique777",
        "rare word, contested": f"{posts}?q=unique777&state=contested",
        "no match": f"{posts}?q=zebra",
        "as a list": f"{posts}?as=list",
    }


def main() -> None:
    ground.django_on_fresh_database("list")
    user, slug = fill()
    cookies = ground.session_cookie(user)
    with ground.server() as address, httpx.Client(base_url=address, cookies=cookies) as client:
        anonymous = httpx.Client(base_url=address)
        for name, url in urls(slug).items():
            asker = anonymous if "baseline" in name else client
            print(f"{name:28} {ground.milliseconds(timed(asker, url))}")
        print(f"{'pages in the middle':28} {ground.milliseconds(walk(client, slug))}")


def timed(client: httpx.Client, url: str) -> list[float]:
    times = []
    for n in range(ASKED + 10):
        began = ground.time.perf_counter()
        response = client.get(url)
        times.append(ground.time.perf_counter() - began)
        assert response.status_code == 200, (url, response.status_code)
        del n
    return times[10:]


def walk(client: httpx.Client, slug: str) -> list[float]:
    """From a random place in the million, a page on: what an offset would make slower and slower."""
    from annotate.browse import write_key
    from annotate.models import Post

    first, last = Post.objects.order_by("id").first(), Post.objects.order_by("id").last()
    assert first
    assert last
    picked = random.Random(1).sample(range(first.pk, last.pk), 50)
    keys = [write_key(post) for post in Post.objects.filter(pk__in=picked)]
    return [time for key in keys for time in timed_once(client, f"/p/{slug}/posts?after={key}")]


def timed_once(client: httpx.Client, url: str) -> list[float]:
    return [ground.seconds(lambda: client.get(url).raise_for_status()) for _ in range(2)]


if __name__ == "__main__":
    main()
