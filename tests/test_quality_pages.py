"""The quality pages: each figure leads to its posts, and what is blind stays so."""

import html
import re

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotate import decided, queue
from annotate.browse import Count
from annotate.decided import Filters
from annotate.models import Disagreement, Review, Role
from annotate.models.review import Why

from .make import make_member, make_project
from .test_deciding import agreed, answer, say
from .test_quality import contested, read_all, two_readers
from .test_queue import seat

pytestmark = pytest.mark.django_db
LINK = re.compile(r'<a[^>]*href="([^"]*/(?:posts|quality/decided)\?[^"]*)"[^>]*>(.*?)</a>', re.DOTALL)


@pytest.fixture(autouse=True)
def _counted_now(monkeypatch):
    cache.clear()
    monkeypatch.setattr(queue, "open_in", queue.count_open)


def page_of(client, project, page="", query=""):
    response = client.get(f"/p/{project.slug}/quality{page}{query}")
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def filled(client):
    """Audits right and wrong, read by two, by one and a lead; contested posts; one set aside; some still open."""
    project = make_project("Memes", audit_rate=0.6, double_rate=0.3)
    for n in range(60):
        agreed(project, ("bullish", "bearish", "neutral")[n % 3])
    for _ in range(12):
        contested(project)
    readers = [*two_readers(project), seat(project, Role.LEAD)]
    for turn in range(22):
        for number, who in enumerate(readers):
            if not (pk := queue.claim(who)):
                continue
            if (turn + number) % 9 == 0:
                say(who, pk, instead="cannot_tell")
            else:
                was = Disagreement.objects.get(pk=pk).post.label
                say(who, pk, "bullish" if turn % 4 == 0 or was is None else was.name)
    client.force_login(readers[-1].user)
    return project


class TestPages:
    @pytest.mark.parametrize("page", ["", "/machines"])
    def test_every_figure_opens_as_many_posts_as_it_says(self, client, filled, page):
        links = {}
        for address, inner in LINK.findall(page_of(client, filled, page)):
            words = re.sub(r"<title>.*?</title>|<[^>]+>", " ", inner, flags=re.DOTALL)
            if found := re.match(r"\s*([\d,]+)", words):
                links[html.unescape(address)] = int(found[1].replace(",", ""))
        assert len(links) > 8
        for address, figure in links.items():
            context = client.get(address).context
            assert context["mend"] == []
            count = context["count"]
            assert (count if isinstance(count, int) else count.number) == figure, address

    def test_an_audit_that_is_open_is_shown_nowhere(self, client, filled):
        still = Disagreement.objects.filter(project=filled, why=Why.AUDIT, closed=None)
        assert still
        for page in ("", "/decided", "/machines", "/riskiest"):
            shown = page_of(client, filled, page)
            for waiting in still:
                assert f"/posts/{waiting.post_id}" not in shown

    def test_the_page_says_that_the_contested_are_not_counted(self, client, filled):
        assert "contested queue and the riskiest posts are never counted in" in page_of(client, filled)

    def test_one_pair_of_eyes_is_said_plainly(self, client):
        project = make_project(audit_rate=1)
        agreed(project)
        lead = seat(project, Role.LEAD)
        read_all([lead])
        client.force_login(lead.user)
        page = page_of(client, project)
        assert "All of it rests on one pair of eyes" in page
        assert "one person alone has decided anything" in page

    @pytest.mark.parametrize(
        ("rate", "posts", "words"),
        [(1, 0, "Machines have settled no label so far"), (1, 3, "3 wait to be read blind"),
         (0, 3, "none of it is audited"), (1e-9, 3, "of so few none was drawn")],
    )  # fmt: skip
    def test_with_nothing_read_it_says_what_to_do(self, client, rate, posts, words):
        project = make_project(audit_rate=rate)
        for _ in range(posts):
            agreed(project)
        client.force_login(make_member(project, Role.ADMIN))
        page = page_of(client, project)
        assert "Nobody has read an audit yet" in page
        assert words in page

    @pytest.mark.parametrize("page", ["/decided", "/machines", "/riskiest"])
    def test_the_other_pages_too(self, client, page):
        project = make_project()
        client.force_login(make_member(project, Role.LEAD))
        assert 'class="sheet empty"' in page_of(client, project, page) or "settled nothing yet" in page_of(
            client, project, page
        )


class TestDecidedPosts:
    def test_pages_go_by_key_and_show_each_once(self, filled, monkeypatch):
        found, _ = decided.matching(filled, Filters())
        everything = list(found.order_by("-closed", "-pk").values_list("pk", flat=True))
        seen, query = [], {}
        while True:
            page = decided.page_of(found, query, size=7)
            seen += [one.pk for one in page.decided]
            if not page.after:
                break
            query = {"after": page.after}
        assert seen == everything
        assert len(everything) > 14

    @pytest.mark.parametrize(
        ("query", "words"),
        [("?verdict=odd", "“odd” is not known here"), ("?was=hopeful", "“hopeful” is not a label"),
         ("?voter=nobody", "No voter is called “nobody”"), ("?why=guess", "“guess” is not known here"),
         ("?voter=a&said=hopeful", "“hopeful” is not a label")],
    )  # fmt: skip
    def test_nonsense_in_the_address_is_told(self, client, filled, query, words):
        page = page_of(client, filled, "/decided", query)
        assert words in html.unescape(page)
        assert "No decided post matches" in page

    def test_of_those_that_have_to_be_looked_up_only_so_many_are_counted(self, client, filled, monkeypatch):
        monkeypatch.setattr(decided, "COUNT_UP_TO", 3)
        found, _ = decided.matching(filled, Filters(voter="a"))
        assert decided.count_of(found, Filters(voter="a")) == Count(3, more=True)
        assert "more than 3 match" in page_of(client, filled, "/decided", "?voter=a")
        assert decided.count_of(found, Filters()) == Count(found.count())  # what a decision knows of itself

    def test_odd_keys_begin_anew(self, client, filled):
        for key in ("x", "99999999999999999999", "-1", "\0"):
            assert client.get(f"/p/{filled.slug}/quality/decided", {"after": key}).context["page"].first

    def test_as_many_queries_however_many_there_are(self, client, filled, monkeypatch):
        asked = []
        for size in (3, 30):
            monkeypatch.setattr(decided.page_of, "__defaults__", (size,))
            with CaptureQueriesContext(connection) as queries:
                page_of(client, filled, "/decided")
            asked.append(len(queries))
        assert asked[0] == asked[1]

    def test_who_said_what_is_shown(self, client, filled):
        one = Disagreement.objects.filter(project=filled, why=Why.AUDIT, closed__isnull=False).first()
        reviews = Review.objects.filter(disagreement=one, undone=None)
        page = page_of(client, filled, "/decided", f"?who={reviews[0].reviewer.username}")
        assert f"/posts/{one.post_id}" in page
        assert reviews[0].reviewer.username in page


def test_the_projects_home_tells_it_to_leads_in_one_sentence(client):
    project = make_project(audit_rate=0.5)
    while not Disagreement.objects.exists():
        agreed(project)
    for _ in range(9):
        agreed(project)
    answer(seat(project), "bullish")
    client.force_login(make_member(project, Role.LEAD))
    home = client.get(f"/p/{project.slug}/").content.decode()
    address = f"/p/{project.slug}/quality/headline"
    assert address in home
    assert "1 blind audit cannot tell it more exactly" in client.get(address).content.decode()
    client.force_login(make_member(project))
    assert address not in client.get(f"/p/{project.slug}/").content.decode()
