"""An evening of reviewing: by keys alone, with everything that goes wrong at a keyboard."""

import re

import pytest
from django.core.cache import cache
from playwright.sync_api import expect

from annotate import queue
from annotate.models import Disagreement, Image, Label, Post, Review, Role
from tests.make import make_member

from .reviewing import contested, decide, live, make_queue, press, ready, settled, start, text_of


@pytest.fixture
def project(live_server):
    return make_queue(12, asks_incongruous=True, guidelines="# Bullish\n\nA *rise*.")


@pytest.fixture
def rae(project):
    return make_member(project, Role.REVIEWER, "rae")


@pytest.fixture
def page(page, login, project, rae, screen):
    login(page, rae)
    page.goto("/p/memes/review")
    if screen.get("java_script_enabled", True):
        ready(page)
    return page


def test_ten_posts_by_keys_alone(page, project):
    keys = {"1": "bearish", "2": "neutral", "3": "bullish"}
    said = {decide(page, key): name for key, name in zip("1231231231", [keys[k] for k in "1231231231"], strict=True)}
    settled(page, 10)
    assert {post.text: post.label.name for post in Post.objects.filter(state="settled")} == said
    assert all(review.seconds and 0.2 < review.seconds < 30 for review in live())
    expect(page.locator("[data-pace]")).to_contain_text("10 today")


def test_the_next_post_is_there_before_the_server_answers(page):
    page.route("**/review/decide", lambda route: None)  # it never will
    first, second = decide(page, "1"), decide(page, "2")
    assert first != second != text_of(page)
    page.unroute_all()


def test_what_was_decided_is_said_aloud(page):
    decide(page, "3")
    expect(page.locator("[data-spoken]")).to_have_text(f"Bullish. Next: {text_of(page)}")


def test_a_note_is_typed_and_kept_and_its_letters_decide_nothing(page):
    page.keyboard.press("n")
    page.keyboard.type("1 sun, ukv?")
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    text = decide(page, "3")
    settled(page, 1)
    review = live().get()
    assert (review.note, review.incongruous, review.disagreement.post.text) == ("1 sun, ukv?", True, text)
    expect(page.locator("#note")).to_have_value("")
    expect(page.locator("[name=incongruous]")).not_to_be_checked()


def test_one_by_one_they_are_taken_back(page):
    texts = [decide(page, key) for key in "123"]
    for text, name in zip(reversed(texts), ("bullish", "neutral", "bearish"), strict=True):
        page.keyboard.press("u")
        expect(page.locator("[data-text]")).to_have_text(text)
        expect(page.get_by_text(f"You said {name}. Taken back.")).to_be_visible()
    settled(page, 0)
    assert not Post.objects.filter(state="settled").exists()
    for text in texts:
        assert decide(page, "3") == text
    settled(page, 3)
    assert {post.text for post in Post.objects.filter(state="settled", label__name="bullish")} == set(texts)


def test_what_was_decided_before_the_page_was_opened_is_taken_back_too(page):
    text = decide(page, "1")
    settled(page, 1)
    start(page)
    page.keyboard.press("u")
    expect(page.locator("[data-text]")).to_have_text(text)
    settled(page, 0)


def test_votes_are_shown_when_asked_for_and_it_is_on_record(page):
    blind = decide(page, "1")
    expect(page.locator("[data-vote-list] .vote")).to_have_count(0)
    page.keyboard.press("v")
    expect(page.locator("[data-vote-list] .vote")).to_have_count(2)
    expect(page.get_by_text("gpt has its reason")).to_be_visible()
    seeing = decide(page, "1")
    expect(page.locator("[data-vote-list] .vote")).to_have_count(0)
    settled(page, 2)
    saw = {review.disagreement.post.text: len(review.saw) for review in live()}
    assert saw == {blind: 0, seeing: 2}


def test_skipped_without_and_with_a_reason(page):
    before = text_of(page)
    press(page, "k")
    page.keyboard.press("k")
    expect(page.locator("[data-text]")).not_to_have_text(before)
    before = text_of(page)
    press(page, "k")
    page.keyboard.press("4")
    expect(page.locator("[data-text]")).not_to_have_text(before)
    settled(page, 2)
    assert [review.note for review in live().order_by("pk")] == ["", "Not now"]
    assert {review.instead for review in live()} == {"skip"}


def test_a_menu_closes_on_escape_and_decides_nothing(page):
    before = text_of(page)
    press(page, "f")
    expect(page.get_by_role("button", name="Broken image")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Broken image")).to_be_hidden()
    assert text_of(page) == before
    assert not live().exists()


def test_flagged(page):
    text = text_of(page)
    press(page, "f")
    page.keyboard.press("2")
    settled(page, 1)
    assert Post.objects.get(text=text).state == "aside"
    expect(page.locator("[data-last-said]")).to_have_text("broken image")


def test_a_double_press_and_a_key_held_down_decide_once(page):
    page.wait_for_timeout(300)
    page.keyboard.press("1")
    page.keyboard.press("1")
    settled(page, 1)
    page.wait_for_timeout(300)
    page.keyboard.down("2")
    for _ in range(5):
        page.wait_for_timeout(100)
        page.keyboard.down("2")  # what a keyboard does while a key is held
    page.keyboard.up("2")
    settled(page, 2)


def test_with_ctrl_held_or_in_a_dialog_keys_do_nothing(page):
    before = text_of(page)
    press(page, "Control+1")
    page.keyboard.press("Alt+2")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    press(page, "3")
    assert text_of(page) == before
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("g")
    expect(page.get_by_role("dialog", name="What sentiment?")).to_contain_text("A rise.")
    page.keyboard.press("Escape")
    decide(page, "3")
    settled(page, 1)


def test_a_reload_shows_the_same_post(page):
    decide(page, "1")
    settled(page, 1)
    for _ in range(2):
        shown = text_of(page)
        page.reload()
        assert text_of(page) == shown
        ready(page)
        assert text_of(page) == shown
    assert Disagreement.objects.filter(holder__isnull=False).count() == 3


def test_the_back_button_decides_nothing_again(page):
    decide(page, "1")
    settled(page, 1)
    page.goto("/p/memes/posts")
    page.go_back()
    ready(page)
    decide(page, "2")
    settled(page, 2)


def test_two_tabs_show_different_posts(page, context, open_page):
    other = open_page(context)
    start(other)
    seen = set()
    for _ in range(3):
        seen |= {decide(page, "1"), decide(other, "3")}
    settled(page, 6)
    assert len(seen) == 6
    assert len({tab for (tab,) in Disagreement.objects.filter(closed=None).exclude(tab="").values_list("tab")}) == 2


def test_a_copied_tab_finds_a_name_of_its_own(page, context, open_page):
    kept = page.evaluate("JSON.stringify(sessionStorage)")
    copy = open_page(context)
    copy.add_init_script(f"for (const [k, v] of Object.entries({kept})) sessionStorage.setItem(k, v)")
    start(copy)
    names = [one.locator("#review [name=tab]").input_value() for one in (page, copy)]
    assert names[0] != names[1]
    assert decide(page, "1") != decide(copy, "1")
    settled(page, 2)


def test_ones_own_keys(page, rae, project):
    page.goto("/account")
    page.get_by_label("Take the last answer back").fill("x")
    page.get_by_label("Skip the post").fill("x")
    page.get_by_role("button", name="Save the keys").click()
    expect(page.get_by_text("“x” is already the key for")).to_be_visible()
    page.get_by_label("Skip the post").fill("q")
    page.get_by_label("Show the votes").fill("1")
    page.get_by_role("button", name="Save the keys").click()
    expect(page.get_by_text("Digits choose labels.")).to_be_visible()
    page.get_by_label("Show the votes").fill("v")
    page.get_by_role("button", name="Save the keys").click()
    expect(page.get_by_text("Your keys are saved.")).to_be_visible()
    start(page)
    text = decide(page, "1")
    page.keyboard.press("u")
    assert text_of(page) != text
    page.keyboard.press("x")
    expect(page.locator("[data-text]")).to_have_text(text)
    settled(page, 0)
    page.goto("/account")
    page.get_by_role("button", name="As they were").click()
    expect(page.get_by_label("Take the last answer back")).to_have_value("u")


def test_a_label_takes_its_key_from_an_action_and_that_is_told(page, project):
    Label.objects.filter(project=project, name="neutral").update(key="v")
    start(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("“v” is the label neutral here")
    page.keyboard.press("Escape")
    decide(page, "v")
    settled(page, 1)
    assert live().get().label.name == "neutral"


def test_a_picture_is_zoomed_and_moved(page):
    while not page.locator("[data-stage] img").count():
        decide(page, "1")
    image = page.locator("[data-stage] img")
    fits = image.bounding_box()
    page.keyboard.press("z")
    large = image.bounding_box()
    assert large["width"] > fits["width"]
    page.keyboard.press("ArrowRight")
    assert image.bounding_box()["x"] < large["x"]
    page.keyboard.press("z")
    assert image.bounding_box() == fits
    page.keyboard.press("z")
    decide(page, "1")
    expect(page.locator(".zoomed")).to_have_count(0)


def test_a_picture_that_cannot_be_shown_says_so(page, project, complaints):
    lost = Image.objects.create(sha256="0" * 64, format="png", width=640, height=480, bytes=9, fingerprint=0)
    Post.objects.update(image=lost)
    start(page)
    expect(page.get_by_text("This picture cannot be shown.")).to_be_visible()
    decide(page, "1")
    expect(page.get_by_text("This picture cannot be shown.")).to_be_visible()
    complaints.clear()  # the browser itself reports the missing files


def test_hostile_posts_stay_text_and_break_nothing(page, project):
    texts = [
        "<img src=x onerror=alert(1)><script>alert(2)</script>",
        "שלום עולם, לירח",
        "z̷̧̢̛̖̰̪͎̱͔̖̟̥a̵̢̡̨̛͎̮͓̜̤̪̖̲l̸̨̢̛͓̮̪̱̖g̶̢̡̛̖̰̪͎̱ơ̷̧̢̖" * 30,
        "x" * 3000,
        "line\n" * 400,
    ]
    Disagreement.objects.all().delete()
    for text in texts:
        contested(project, text)
    start(page)
    seen = [decide(page, "1") for _ in range(4)] + [text_of(page)]
    assert set(seen) == set(texts)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")


def test_the_end_and_what_was_skipped_taken_up_again(page, project):
    keep = Disagreement.objects.filter(project=project, holder__isnull=False).values("pk")
    Disagreement.objects.exclude(pk__in=keep).delete()
    before = text_of(page)
    press(page, "k")
    page.keyboard.press("Enter")
    expect(page.locator("[data-text]")).not_to_have_text(before)
    decide(page, "1")
    press(page, "2")
    expect(page.get_by_role("heading", name="Nothing is left")).to_be_visible()
    expect(page.get_by_text("You answered 2 posts today.")).to_be_visible()
    page.get_by_role("button", name="Take them up again").click()
    ready(page)
    expect(page.locator("[data-text]")).to_have_text(before)
    expect(page.get_by_text("You said skipped.")).to_be_visible()


def test_votes_after_the_choice(page, project):
    project.votes_shown = "after"
    project.save()
    start(page)
    expect(page.get_by_role("button", name="Show the votes")).to_have_count(0)
    page.keyboard.press("v")
    decide(page, "1")
    expect(page.locator("[data-last-votes]")).to_contain_text("gpt: bullish 0.80")
    assert live().get().saw == []


def test_a_lead_settles_where_two_differ(page, project, rae, login, axe):
    lead = make_member(project, Role.LEAD, "lea")
    other = make_member(project, username="kim")
    Disagreement.objects.exclude(post__text="post number 1").delete()
    waiting = Disagreement.objects.get()
    Disagreement.objects.update(stream=0, wanted=2, answers=2, passed=[rae.pk, other.pk], **queue.FREE)
    for who, name in ((rae, "bullish"), (other, "bearish")):
        label = project.labels.get(name=name)
        Review.objects.create(
            project=project, disagreement=waiting, reviewer=who, key=name, label=label, note="<b>because</b>", seconds=9
        )
    cache.clear()
    page.context.clear_cookies()
    login(page, lead)
    start(page)
    expect(page.get_by_role("heading", name="Two people differ")).to_be_visible()
    told = page.locator("[data-answer-list]")
    for words in ("rae, 9 s", "kim, 9 s", "<b>because</b>", "bullish", "bearish"):
        expect(told).to_contain_text(words)
    axe(page)
    press(page, "1")
    expect(page.get_by_role("heading", name="Nothing is left to review")).to_be_visible()
    assert Post.objects.get(text="post number 1").label.name == "bearish"


def test_everybody_can_read_it_whatever_it_shows(page, axe):
    while not page.locator("[data-stage] img").count():
        decide(page, "1")
    page.keyboard.press("v")
    expect(page.locator("[data-vote-list] .vote")).to_have_count(2)
    for key in "nkfg?":
        page.keyboard.press(key)
        axe(page)
        page.keyboard.press("Escape")
    Disagreement.objects.exclude(holder__isnull=False).delete()
    for _ in range(3):
        press(page, "1")
    expect(page.get_by_role("heading", name="Nothing is left")).to_be_visible()
    axe(page)


class TestManyLabels:
    @pytest.fixture
    def project(self, live_server):
        names = ("bearish", "bullish", *(f"breed {n}" for n in range(60)), "Siamese", "Siberian", "Cornish Rex")
        project = make_queue(8, labels=names)
        Label.objects.filter(project=project).update(key="")
        return project

    def test_typing_finds_a_label_and_enter_takes_it(self, page):
        page.keyboard.press("/")
        before = text_of(page)
        page.wait_for_timeout(300)
        page.keyboard.type("sia")
        expect(page.locator("[data-found]")).to_have_text("Enter: Siamese")
        page.keyboard.press("Enter")
        expect(page.locator("[data-text]")).not_to_have_text(before)
        page.wait_for_timeout(300)
        page.keyboard.type("rex")
        page.keyboard.press("Enter")
        settled(page, 2)
        assert [review.label.name for review in live().order_by("pk")] == ["Siamese", "Cornish Rex"]

    def test_everybody_can_read_it(self, page, axe):
        axe(page)
        page.get_by_label("Find a label").fill("si")
        axe(page)

    def test_enter_on_nothing_typed_chooses_nothing(self, page):
        page.keyboard.press("/")
        press(page, "Enter")
        page.wait_for_timeout(300)
        assert not live().exists()

    def test_arrows_walk_through_what_is_left(self, page):
        page.keyboard.press("/")
        page.wait_for_timeout(300)
        page.keyboard.type("sib")
        page.keyboard.press("Backspace")
        expect(page.locator("[data-found]")).to_have_text("Enter: Siamese, and 1 more")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("button", name="Siberian")).to_be_focused()
        page.keyboard.press("Enter")
        settled(page, 1)
        assert live().get().label.name == "Siberian"

    def test_what_machines_named_comes_first_once_their_votes_are_seen(self, page):
        first = page.locator("[data-labels] .choice")
        page.keyboard.press("v")
        expect(page.locator("[data-vote-list] .vote")).to_have_count(2)
        expect(first.nth(0)).to_have_text(re.compile("bearish"))
        expect(first.nth(1)).to_have_text(re.compile("bullish"))


class TestWithoutJavaScript:
    @pytest.fixture
    def screen(self):
        return {"java_script_enabled": False}

    def test_decided_with_a_note_and_taken_back(self, page):
        text = text_of(page)
        page.locator("summary", has_text="note").click()
        page.get_by_label("Note").fill("by hand")
        page.get_by_role("button", name="bullish").click()
        assert text_of(page) != text
        assert (live().get().note, live().get().label.name) == ("by hand", "bullish")
        page.get_by_role("button", name="undo").first.click()
        assert text_of(page) == text
        expect(page.get_by_text("You said bullish. Taken back.")).to_be_visible()
        expect(page.get_by_label("Note")).to_have_value("by hand")

    def test_votes_skip_and_flag(self, page):
        page.get_by_role("button", name="Show the votes").click()
        expect(page.get_by_text("gpt has its reason")).to_be_visible()
        page.locator("summary", has_text="skip").click()
        page.get_by_label("Or for a reason").select_option("Not now")
        page.get_by_role("button", name="Without a reason").click()
        page.locator("summary", has_text="flag").click()
        page.get_by_role("button", name="Cannot tell").click()
        assert [(r.instead, r.note) for r in live().order_by("pk")] == [("skip", "Not now"), ("cannot_tell", "")]

    def test_the_back_button_is_refused_in_a_sentence_and_the_note_stays(self, page, complaints):
        page.get_by_role("button", name="bullish").click()
        page.go_back()
        page.locator("summary", has_text="note").click()
        page.get_by_label("Note").fill("my dear note")
        page.get_by_role("button", name="bearish").click()
        complaints.clear()  # the browser reports the status
        if not page.get_by_text("already answered").count():
            assert live().count() == 2  # the browser asked for the page anew, and so for another post
        else:
            expect(page.get_by_text("my dear note")).to_be_visible()
            assert live().count() == 1

    def test_there_is_no_button_that_needs_a_script(self, page):
        expect(page.get_by_role("button", name="zoom")).to_have_count(0)
        expect(page.get_by_role("button", name="keys")).to_have_count(0)
