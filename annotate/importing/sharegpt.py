"""Conversations as LLaMA-Factory and others store them: the user's turn is the post, the answer its known label."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from annotate.harmless import restored

from . import exported
from .cells import as_text, kept
from .columns import Record, picture_in
from .pictures import PictureOf
from .rows import Refused, Row, Unreadable

USER = frozenset({"user", "human"})
ASSISTANT = frozenset({"assistant", "gpt", "model", "bot", "chatgpt"})
REASON = "Reason: "
TOKEN = re.compile(r"<(image|img|video|audio)>[ \t]*\n?")

Turn = tuple[str, str]  # who, and what they said


def is_conversation(record: Mapping[str, object]) -> bool:
    turns = turn_list(record)
    first = turns[0] if turns else None
    return isinstance(first, Mapping) and ({"role", "content"} <= first.keys() or {"from", "value"} <= first.keys())


def turn_list(record: Mapping[str, object]) -> list[object]:
    turns = record.get("messages") or record.get("conversations")
    return turns if isinstance(turns, list) else []


def read(records: Iterable[Record | Refused], labels: Iterable[str], picture_of: PictureOf) -> Iterator[Row | Refused]:
    known = {label.strip().casefold(): label for label in labels}
    for record in records:
        if isinstance(record, Refused):
            yield record
            continue
        number, values = record
        try:
            yield row_of(number, values, known, picture_of)
        except (ValueError, Unreadable) as error:
            yield Refused(number, str(error), as_text(turn_list(values)[:1])[:80])


def row_of(number: int, record: Mapping[str, object], labels: Mapping[str, str], picture_of: PictureOf) -> Row:
    turns, inline = turns_and_pictures(record)
    asked = next((at for at, (who, _) in enumerate(turns) if who in USER), None)
    if asked is None:
        raise ValueError("the conversation has no turn of a user")
    answered = next((at for at, (who, _) in enumerate(turns) if who in ASSISTANT and at > asked), None)
    answer = turns[answered][1].strip() if answered is not None else ""
    names = list(dict.fromkeys([*named_pictures(record), *inline]))
    text = restored(TOKEN.sub("", turns[asked][1]).strip())
    if not text and not names:
        raise ValueError("row has neither text nor a picture")
    label, reason = told(answer, labels)
    row = Row(
        number,
        text=text,
        external_id=as_text(record.get("id")).strip(),
        picture=picture_in(names[0], number, picture_of) if names else None,
        label=label,
        meta=meta_of(record, "" if label else answer, turns[(answered or asked) + 1 :], names[1:]),
    )
    row = with_metadata(row, record.get("metadata"))
    return replace(row, meta=row.meta | {"reason": kept(reason)}) if reason else row


def told(answer: str, labels: Mapping[str, str]) -> tuple[str, str]:
    """The label, and the reason below it where our own export put one there."""
    whole = labels.get(answer.casefold(), "")
    first, _, rest = answer.partition("\n")
    label = labels.get(first.strip().casefold(), "")
    if whole or not label or not rest.startswith(REASON):
        return whole, ""
    return label, restored(rest.removeprefix(REASON).strip())


def with_metadata(row: Row, metadata: object) -> Row:
    """Our own, which says where the label is from; what others keep under this name is kept with the rest."""
    if not isinstance(metadata, dict) or not exported.is_source(metadata.get("label_source")):
        return row
    own = {name: value for name, value in row.meta.items() if name != "metadata"}
    known = exported.about(metadata)
    return replace(row, **known | {"meta": own | known["meta"], "past": exported.past_of(metadata)})  # type: ignore[operator]


def turns_and_pictures(record: Mapping[str, object]) -> tuple[list[Turn], list[str]]:
    """Contents may be a text, or a list of parts of which some are pictures."""
    turns, pictures = [], []
    for turn in turn_list(record):
        if not isinstance(turn, Mapping):
            raise ValueError("a turn of the conversation is not an object")
        content = turn.get("content", turn.get("value"))
        texts = []
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, Mapping):
                pictures += part_pictures(part)
                part = part.get("text")
            texts.append(as_text(part))
        turns.append((as_text(turn.get("role", turn.get("from"))).lower(), "\n".join(filter(None, texts))))
    return turns, pictures


def part_pictures(part: Mapping[str, object]) -> list[str]:
    picture = part.get("image_url") or part.get("image")
    if isinstance(picture, Mapping):
        picture = picture.get("url")
    return [picture] if isinstance(picture, str) else []


def named_pictures(record: Mapping[str, object]) -> list[str]:
    pictures = record.get("images") or record.get("image") or []
    return [as_text(name) for name in (pictures if isinstance(pictures, list) else [pictures])]


def meta_of(record: Mapping[str, object], answer: str, later: list[Turn], more: list[str]) -> dict[str, object]:
    taken = {"messages", "conversations", "images", "image", "id", "system"}
    meta = {as_text(key)[:200]: kept(value) for key, value in record.items() if key not in taken}
    meta |= {"answer": kept(answer)} if answer else {}
    meta |= {"later turns": kept([{who: said} for who, said in later])} if later else {}
    return meta | ({"more pictures": kept(more)} if more else {})
