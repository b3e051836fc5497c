"""Whatever lets somebody in is as good as a password: no log shows it."""

import logging
import os
import re
from functools import lru_cache

from django.conf import settings

HIDDEN = "***"
NAMES = (
    r"(?:proxy-)?authorization|cookie|set-cookie|sessionid|csrftoken|csrfmiddlewaretoken|x-csrftoken|"
    r"x-api-key|x-goog-api-key|api[_-]?key|(?:access|refresh|id|auth)[_-]?token|token|client[_-]?secret|secret|"
    r"secret[_-]?key|password[12]?|passwd|code[_-]verifier|x-amz-(?:signature|credential|security-token)|signature"
)
SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Our own links that let somebody in.
        r"(/invited/|/login/[^/\s]+/)[^/\s?\"'<>]+",
        # password=…, "api_key": "…", Authorization: Bearer …
        rf"(\b(?:{NAMES})\b[\"']?\s{{0,3}}[:=]\s{{0,3}}(?:b?[\"'])?(?:(?:bearer|basic|token|key)\s+)?)[^\s\"',;&<>)}}\]]+",
        # In an address: whose names are too common elsewhere.
        r"([?&](?:key|code|sig|otp)=)[^&\s\"'#<>]+",
        r"(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}",
        # By their form, wherever they stand.
        r"(\b(?:cv_|sk-|hf_|gh[pousr]_|xox[abprs]-|AKIA|AIza))[A-Za-z0-9_-]{12,}",
        # postgresql://user:password@host
        r"(://[^:/\s@\"']*:)[^@\s/\"']+(?=@)",
    )
)
# Nearly every line holds nothing of the kind, and a search for each of these words takes a thirtieth of the others'.
TRACES = (
    "/invited/", "/login/", "auth", "cookie", "session", "csrf", "key", "token", "secret", "passw", "verifier", "amz",
    "signature", "code=", "sig=", "otp=", "bearer", "cv_", "sk-", "hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox",
    "akia", "aiza", "://",
)  # fmt: skip
HOLDS_A_SECRET = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)$")
SHORTEST = 8  # what is shorter would hide ordinary words


class Masked(logging.Filter):
    """For records that others may also take up, before they are written."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = masked(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(masked(value) for value in record.args)
        return True


def masked(value: object) -> object:
    return masked_text(value) if isinstance(value, str) else value


def masked_text(text: str) -> str:
    """First what we know to be secret, however it is wrapped; then what looks like it."""
    if (known := known_secrets()) is not None:
        text = known.sub(HIDDEN, text)
    lower = text.lower()
    if any(trace in lower for trace in TRACES):
        for pattern in SECRETS:
            text = pattern.sub(rf"\1{HIDDEN}", text)
    return text


@lru_cache(maxsize=1)
def known_secrets() -> re.Pattern[str] | None:
    """What was given to this process in its environment or `.env`, as it was when its first line was written."""
    given = {value for name, value in os.environ.items() if HOLDS_A_SECRET.search(name)}
    given |= {settings.SECRET_KEY, *(told.get("PASSWORD") or "" for told in settings.DATABASES.values())}
    long = sorted((value for value in given if len(value) >= SHORTEST), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, long))) if long else None
