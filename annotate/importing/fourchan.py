"""Threads and catalogues as 4chan's read-only API gives them; the comments come as HTML and leave as text."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser

from .cells import as_text, kept, storable
from .columns import Record
from .pictures import PictureOf, is_picture
from .rows import Picture, Refused, Row, Unreadable

MAX_COMMENT = 20_000  # of HTML; the site allows 2,000 to 5,000 characters
MAX_OPEN_TAGS = 100  # the parser looks for the end of each one through all that follows
META = ("replies", "images", "country", "country_name", "board_flag", "flag_name", "capcode", "id", "trip", "archived",
        "semantic_url", "unique_ips", "filename", "md5")  # fmt: skip
BOARD_IN_NAME = re.compile(r"(?:^|[/_. -])([a-z0-9]{1,6})[/_. -]+(?:thread|threads|catalog|res|\d{5,})(?![a-z])")

Post = Mapping[str, object]
PictureNamed = Callable[[str], Picture | None]


def is_fourchan(record: Post) -> bool:
    if isinstance(record.get("threads"), list):
        return "page" in record
    if isinstance(posts := record.get("posts"), list):
        return bool(posts) and isinstance(posts[0], Mapping) and is_fourchan(posts[0])
    return isinstance(record.get("no"), int) and "time" in record and not {"com", "tim", "resto"}.isdisjoint(record)


def read(
    records: Iterable[Record | Refused], picture_of: PictureOf, board: str = "", name: str = ""
) -> Iterator[Row | Refused]:
    """Without pictures beside the file its posts are still worth having, as far as they have text."""
    board = board or board_in(name)
    number = 0
    for record in records:
        for post in [record] if isinstance(record, Refused) else posts_in(record[1]):
            number += 1
            if isinstance(post, Refused):
                yield Refused(number, post.reason, post.excerpt)
            else:
                yield row_of(number, post, board, lambda name: found(picture_of, name))


def posts_in(record: Post) -> list[Post]:
    inside = record.get("posts", record.get("threads"))
    return [post for post in inside if isinstance(post, Mapping)] if isinstance(inside, list) else [record]


def board_in(name: str) -> str:
    found = BOARD_IN_NAME.search(name.lower())
    return found[1] if found else ""


def found(picture_of: PictureOf, name: str) -> Picture | None:
    try:
        return picture_of(name)
    except Unreadable:
        return None


def row_of(number: int, post: Post, board: str, picture_named: PictureNamed) -> Row | Refused:
    try:
        return checked_row(number, post, board, picture_named)
    except ValueError as error:
        return Refused(number, str(error), as_text(post.get("com"))[:80])


def checked_row(number: int, post: Post, board: str, picture_named: PictureNamed) -> Row:
    no, thread = whole(post, "no"), whole(post, "resto")
    if not no:
        raise ValueError("the post has no number")
    if post.get("sticky") and not thread:
        raise ValueError("a notice that the moderators pinned, not a post")
    text = "\n".join(filter(None, (subject_of(post), as_plain_text(as_text(post.get("com"))))))
    name = picture_name(post)
    picture = picture_named(name) if name else None
    if not text and not picture:
        raise ValueError(why_empty(post, name))
    return Row(
        number,
        text=text,
        external_id=f"4chan/{board}/{no}" if board else f"4chan/{no}",
        picture=picture,
        posted_at=time_of(post),
        source=f"4chan /{board}/" if board else "4chan",
        meta=meta_of(post, thread or no, "" if picture else name),
    )


def whole(post: Post, key: str) -> int:
    value = post.get(key)
    return value if isinstance(value, int) and 0 < value < 2**63 else 0


def subject_of(post: Post) -> str:
    return unescape(as_text(post.get("sub"))[:500]).strip()


def picture_name(post: Post) -> str:
    """As the site stores it; blank where it was deleted, or is a video."""
    name = f"{whole(post, 'tim')}{as_text(post.get('ext'))[:6].lower()}"
    return name if whole(post, "tim") and not post.get("filedeleted") and is_picture(name) else ""


def why_empty(post: Post, name: str) -> str:
    if post.get("filedeleted"):
        return "its picture was deleted, and it has no text"
    if name:
        return f"it has no text, and its picture {name} is not beside the file"
    return "it has neither text nor a picture"


def time_of(post: Post) -> datetime:
    try:
        return datetime.fromtimestamp(whole(post, "time") or float("nan"), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError("the post has no valid time") from error


def meta_of(post: Post, thread: int, missing_picture: str) -> dict[str, object]:
    meta: dict[str, object] = {"thread": thread}
    meta |= {"subject": subject} if (subject := subject_of(post)) else {}
    meta |= {"picture": missing_picture} if missing_picture else {}
    return meta | {key: kept(value) for key in META if (value := post.get(key)) not in (None, "")}


# --- comments


def as_plain_text(html: str) -> str:
    if len(html) > MAX_COMMENT:
        raise ValueError(f"the comment is longer than {MAX_COMMENT:,} characters")
    if html.count("<") > html.count(">") + MAX_OPEN_TAGS:
        raise ValueError("the comment is not valid HTML")
    reader = CommentReader()
    try:
        reader.feed(html)
        reader.close()
    except AssertionError as error:  # what the parser raises at `<![`
        raise ValueError("the comment is not valid HTML") from error
    lines = "".join(reader.pieces).splitlines()
    return storable("\n".join(line.rstrip() for line in lines).strip())


class CommentReader(HTMLParser):
    """Quotes, spoilers and links are worth their words; only line breaks have to be put back."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"br", "p", "pre"}:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"p", "pre"}:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)
