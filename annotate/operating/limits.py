"""How often somebody may do something. Counted in PostgreSQL, so that it holds over all web workers and machines.

A limit is so many at once, and as many again in each period: what was used is given back bit by bit, not all at the
full minute. Whoever is refused has used nothing by it, and is told after how many seconds it is worth trying again.
"""

import hashlib
from dataclasses import dataclass
from ipaddress import ip_address
from math import ceil
from typing import Any

from django.db import connection
from django.http import JsonResponse

MINUTE, HOUR = 60, 3600
PERIODS = {MINUTE: "a minute", HOUR: "an hour"}
LEAST = 1e-6  # seconds; PostgreSQL keeps no less, and a full limit must not fail by the last digit


class TooFast(Exception):
    """The words are for whoever asked."""

    def __init__(self, words: str, seconds: int) -> None:
        super().__init__(words)
        self.seconds = seconds

    @property
    def response(self) -> JsonResponse:
        return JsonResponse({"detail": str(self)}, status=429, headers={"Retry-After": str(self.seconds)})


@dataclass(frozen=True)
class Limit:
    """`most` of it in `within` seconds, called `what` in the refusal; 0 is no limit."""

    name: str
    most: int
    within: int
    what: str

    def seconds_for(self, cost: int) -> float:
        return int(cost * self.within / self.most / LEAST) * LEAST

    def key_of(self, who: object) -> str:
        """Names that people typed and addresses that they came from are nobody's business once they are counted."""
        return f"{self.name} {hashlib.sha256(str(who).encode('utf-8', 'replace')).hexdigest()}"

    def refusal(self, seconds: float) -> TooFast:
        wait = max(1, ceil(min(seconds, self.within)))
        return TooFast(f"That is more than {self.told}. Ask again in {wait:,} s.", wait)

    @property
    def told(self) -> str:
        return f"{self.most:,} {self.what} {PERIODS.get(self.within, f'in {self.within} s')}"


# `greatest`: what lies in the past is all given back. `least`: nobody waits longer than a period, though the clock of
# the database was set back.
IN_USE = """
least(greatest(kept.full_at, statement_timestamp()), statement_timestamp() + make_interval(secs => %(within)s))
  + make_interval(secs => %(cost)s)
"""
SPEND = f"""
WITH spent AS (
  INSERT INTO annotate_allowance AS kept (key, full_at)
  VALUES (%(key)s, statement_timestamp() + make_interval(secs => %(cost)s))
  ON CONFLICT (key) DO UPDATE SET full_at = {IN_USE}
  WHERE {IN_USE} <= statement_timestamp() + make_interval(secs => %(within)s)
  RETURNING key)
SELECT EXISTS (SELECT FROM spent), (
  SELECT extract(epoch FROM {IN_USE} - statement_timestamp())::float8 - %(within)s
  FROM annotate_allowance AS kept WHERE key = %(key)s)
"""
LEFT = f"""
SELECT extract(epoch FROM {IN_USE} - statement_timestamp())::float8 - %(within)s
FROM annotate_allowance AS kept WHERE key = %(key)s
"""
GIVE_BACK = "UPDATE annotate_allowance SET full_at = full_at - make_interval(secs => %(cost)s) WHERE key = %(key)s"
FORGET = "DELETE FROM annotate_allowance WHERE full_at < statement_timestamp()"


def spend(limit: Limit, who: object, cost: int = 1) -> None:
    """In one statement, and the row of whoever asks is locked until their transaction ends: two requests of one person
    cannot both take the last of it."""
    if not limit.most or not cost:
        return
    heed_size(limit, cost)
    [(allowed, over)] = asked(SPEND, limit, who, cost)
    if not allowed:
        raise limit.refusal(over or 0)


def heed(limit: Limit, who: object, cost: int = 1) -> None:
    """Whether there would be room, and nothing is used: before work that is only worth doing if there is."""
    if not limit.most:
        return
    heed_size(limit, cost)
    for (over,) in asked(LEFT, limit, who, cost):
        if over > LEAST:
            raise limit.refusal(over)


def heed_size(limit: Limit, cost: int) -> None:
    """To wait would not help."""
    if cost > limit.most:
        raise TooFast(f"That is more than {limit.told}. Ask for fewer at once.", limit.within)


def give_back(limit: Limit, who: object, cost: int = 1) -> None:
    if limit.most:
        with connection.cursor() as cursor:
            cursor.execute(GIVE_BACK, values(limit, who, cost))


def forget() -> None:
    """Each minute: what was given back to the last bit needs no row."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET)


def asked(statement: str, limit: Limit, who: object, cost: int) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values(limit, who, cost))
        return list(cursor.fetchall())


def values(limit: Limit, who: object, cost: int) -> dict[str, Any]:
    return {"key": limit.key_of(who), "cost": limit.seconds_for(cost), "within": limit.within}


def network_of(address: str) -> str:
    """A home has 2^64 addresses of the sixth version, and whoever rents a machine has them too."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return address if found.version == 4 else str(int(found) >> 64)
