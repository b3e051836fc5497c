"""What one value of an imported record says: as text, a date, a probability, a yes or no, or something to keep."""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from email.utils import parsedate_to_datetime

KEPT_CHARACTERS = 20_000  # of one value that no column of ours takes
KEPT_DEPTH = 20
KEPT_ITEMS = 1000

SURROGATE = re.compile("[\ud800-\udfff]")
EPOCH_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (0, 1))  # from this size on a number counts nanoseconds, ...
DIGITS = re.compile(r"-?\d{9,19}(\.\d+)?")
MAIL_DATE = re.compile(r"([A-Za-z]{3},? +)?\d{1,2}[ -][A-Za-z]{3}[ -]\d{4} ")
SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})\b")
DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y")
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", " %H:%M:%S %z")
COMMON_DATES = (
    *(day + clock for day in DAYS for clock in CLOCKS),
    "%a %b %d %H:%M:%S %z %Y",
    "%a %b %d %H:%M:%S %Y",
)
YES = frozenset({"true", "t", "yes", "y", "1", "1.0"})
NO = frozenset({"false", "f", "no", "n", "0", "0.0"})


def as_text(value: object) -> str:
    """Text that PostgreSQL takes: no NUL, no half of a surrogate pair; None and NaN are blank."""
    if type(value) is str:
        return storable(value)
    if value is None or value is False or value is True:
        return "" if value is None else str(value).lower()
    if isinstance(value, float):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, (Mapping, list, tuple, bytes)):
        return json.dumps(kept(value), ensure_ascii=False)
    return storable(str(value))


def storable(text: str) -> str:
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return SURROGATE.sub("\ufffd", text)
    return text


def kept(value: object, depth: int = KEPT_DEPTH) -> object:
    """As JSON that PostgreSQL takes, of a bounded size."""
    if isinstance(value, str):
        return storable(value if len(value) <= KEPT_CHARACTERS else value[: KEPT_CHARACTERS - 1] + "…")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else f"{value:.6e}" if abs(value) < 10**300 else "a huge number"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return f"({len(value):,} bytes)"
    if isinstance(value, (Mapping, list, tuple)):
        return kept_inside(value, depth - 1)
    return storable(value.isoformat() if isinstance(value, (date, time)) else str(value)[:KEPT_CHARACTERS])


def kept_inside(value: Mapping[object, object] | list[object] | tuple[object, ...], depth: int) -> object:
    if depth < 0:
        return "…"
    if isinstance(value, Mapping):
        return {as_text(key): kept(inner, depth) for key, inner in list(value.items())[:KEPT_ITEMS]}
    return [kept(inner, depth) for inner in value[:KEPT_ITEMS]]


def as_date(value: object) -> datetime | None:
    """Blank is None; a date without a time zone is UTC. Raises ValueError with the sentence for the report."""
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "" or value != value:  # NaN
        return None
    try:
        found = moment(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, IndexError, OverflowError, OSError) as error:
        raise unreadable_date(value) from error


def moment(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return from_epoch(value)
    if not isinstance(value, str):
        raise unreadable_date(value)
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return written_moment(value)


def from_epoch(number: float) -> datetime:
    unit = next(unit for least, unit in EPOCH_UNITS if abs(number) >= least)
    try:
        return datetime.fromtimestamp(number / unit, UTC)
    except ValueError as error:
        raise unreadable_date(number) from error


def written_moment(text: str) -> datetime:
    if len(text) > 60:
        raise unreadable_date(text)
    if DIGITS.fullmatch(text):
        return from_epoch(float(text))
    text = text.removesuffix("Z").removesuffix(" UTC").removesuffix(" GMT")
    if MAIL_DATE.match(text):
        try:
            return parsedate_to_datetime(text)
        except ValueError:
            pass  # "5 Jan 2024 3:04 PM" looks like it; the list below knows it
    return from_common_forms(month_second(text))


def month_second(text: str) -> str:
    """`12/31/2024` has one reading, `03/04/2024` has two: a guess would be wrong without anybody noticing."""
    slashed = SLASHED.match(text)
    if not slashed:
        return text
    first, second = int(slashed[1]), int(slashed[2])
    if first <= 12 and second <= 12 and first != second:
        raise ValueError(f"the date “{text}” has two readings; write {slashed[3]}-{first:02}-{second:02} or the other")
    return f"{second}/{first}{text[slashed.end(2) :]}" if second > 12 else text


def from_common_forms(text: str) -> datetime:
    for form in COMMON_DATES:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    raise unreadable_date(text)


def unreadable_date(value: object) -> ValueError:
    return ValueError(f"the date “{as_text(value)[:40]}” is not one we can read; write it as 2024-01-31 or 1706659200")


def as_probability(value: object) -> float | None:
    """`0.83`, `83%` and `83`; anything else is unknown."""
    if isinstance(value, str):
        value = value[:40].strip()
        percent = value.endswith("%")
        value = value.removesuffix("%")
    else:
        percent = False
    if value is None or isinstance(value, (bool, bytes, Mapping, list, tuple)):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    if percent or 1 < number <= 100:
        number /= 100
    return number if 0 <= number <= 1 else None


def as_yes_or_no(value: object) -> bool | None:
    text = as_text(value).strip().lower()
    if text in YES:
        return True
    if not text or text in NO:
        return False if text else None
    raise ValueError(f"“{text[:40]}” is neither yes nor no")
