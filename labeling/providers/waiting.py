"""Pure: how long a server asks to be left alone."""

import email.utils
import math
import re
import time
from collections.abc import Mapping
from typing import Any


def asked_to_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds, from retry-after-ms or from Retry-After in either of its forms. httpx headers ignore case."""
    milliseconds = seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    told = headers.get("retry-after")
    return seconds(told) if seconds(told) is not None else until(told, now_there(headers) if now is None else now)


def now_there(headers: Mapping[str, str]) -> float:
    """By the clock that set the hour; ours may be a day off, and would wait for a day."""
    try:
        return email.utils.parsedate_to_datetime(headers.get("date") or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return time.time()


def seconds(told: str | None) -> float | None:
    try:
        wait = float(told or "")
    except ValueError:
        return None
    return max(0.0, wait) if math.isfinite(wait) else None


def until(told: str | None, now: float) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(told or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, moment - now)


def retry_delay(details: Any) -> float | None:
    """From the RetryInfo in the body of a Google error: {"retryDelay": "7.5s"}."""
    for detail in error_details(details):
        if str(detail.get("@type", "")).endswith("RetryInfo"):
            told = re.fullmatch(r"\s*([\d.]+)s\s*", str(detail.get("retryDelay", "")))
            return seconds(told[1]) if told else None
    return None


def error_details(body: Any) -> list[dict[str, Any]]:
    error = body.get("error", body) if isinstance(body, dict) else {}
    details = error.get("details") if isinstance(error, dict) else None
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
