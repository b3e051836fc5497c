"""A line of the log, for people or for machines. Whichever it is, what it says is masked last of all, when nothing can
be added any more: the text of an exception, and every line of its traceback, too."""

import json
import logging
import re
import time
from datetime import UTC, datetime
from typing import Any

from annotate.masked_logs import masked_text

from . import at_work

# A line break in what somebody sent would begin a line of their own in our log.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Line(logging.Formatter):
    """The traceback stands below on lines of its own, as it is read."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name}: {message}", style="{")
        self.second = (0, "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """The date is put into words once a second."""
        second, words = self.second
        if second != int(record.created):
            second = int(record.created)
            words = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self.second = second, words
        return f"{words},{int(record.msecs):03d}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        if not is_harmless(record):
            record.message = CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), record.message)
        number = at_work.number(getattr(record, "request", None))
        return super().formatMessage(record) + (f" [{number}]" if number else "")

    def format(self, record: logging.LogRecord) -> str:
        written = super().format(record)
        return written if is_harmless(record) else masked_text(written)


def is_harmless(record: logging.LogRecord) -> bool:
    """Made of our own words alone."""
    return getattr(record, "is_harmless", False)


class Json(logging.Formatter):
    """One object a line, in ASCII: nothing that anybody sent can end it early or not be written."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            # Before it is put into JSON, whose signs would hide a secret's beginning or end.
            "message": record.getMessage() if is_harmless(record) else masked_text(record.getMessage()),
            **at_work.told(getattr(record, "request", None)),
            **{name: masked_value(value) for name, value in getattr(record, "more", {}).items()},
        }
        if record.exc_info:
            told["exception"] = masked_text(self.formatException(record.exc_info))
        if record.stack_info:
            told["stack"] = masked_text(self.formatStack(record.stack_info))
        return json.dumps(told, default=str)


def masked_value(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else masked_text(str(value))
