"""One message to one address: no redirect is followed, and nothing inside our own network is called by accident."""

import ipaddress
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import httpcore
import httpx

from annotate.fetch import PORTS, GuardedNetwork, Refused, is_public, ssl_context

TIMEOUT = 10.0  # seconds, for all of it
LONGEST = 500  # characters of an address
READ = 2000  # bytes of what is answered
KEPT = 200  # characters of it
FIRST_FREE_PORT = 1024  # below it only the web's own: what else listens there was never meant to be called
GONE = 410
HEADERS = {"User-Agent": "casting-vote", "Content-Type": "application/json", "Connection": "close"}


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int | None  # None where nothing was answered
    ms: int
    said: str = ""
    wait: float | None = None  # seconds that the receiver asks for

    @property
    def arrived(self) -> bool:
        return self.code is not None and 200 <= self.code < 300


def problem_with(address: str, private: bool) -> str:
    """A sentence, or nothing. Names are looked up when something is sent, and checked again then."""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError, TypeError):
        return "This is not a web address."
    if url.scheme not in PORTS or not url.host:
        return "A webhook’s address begins with https:// or http:// and names a host."
    if len(address) > LONGEST:
        return f"An address has at most {LONGEST} characters."
    if url.userinfo:
        return "The address holds a user name or password: leave them out, and check the signature instead."
    if private:
        return ""
    if url.port is not None and url.port != PORTS[url.scheme] and url.port < FIRST_FREE_PORT:
        return f"Port {url.port} is not called: use {PORTS[url.scheme]}, or one from {FIRST_FREE_PORT} on."
    named = url.host.lower().rstrip(".")
    if named == "localhost" or named.endswith(".localhost") or (is_address(named) and not is_public(named)):
        return "This address is inside a private network. A site admin may have it called, by saying that it is ours."
    return ""


def is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def post(address: str, headers: Mapping[str, str], body: bytes, private: bool) -> Outcome:
    began = time.monotonic()
    if problem := problem_with(address, private):
        return Outcome(None, 0, problem)
    url = httpx.URL(address)
    allowed: Collection[str] = {url.raw_host.decode("ascii")} if private else ()
    wire = GuardedNetwork(began + TIMEOUT, allowed, socket.getaddrinfo)
    try:
        with httpcore.ConnectionPool(ssl_context=ssl_context(), network_backend=wire) as pool:
            code, said, wait = answer(pool, url, headers, body)
    except Refused as refusal:
        code, said, wait = None, str(refusal), None
    except httpcore.TimeoutException:
        code, said, wait = None, f"It did not answer within {TIMEOUT:g} seconds.", None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        code, said, wait = None, f"It could not be reached: {error or 'the connection broke'}.", None
    return Outcome(code, round(1000 * (time.monotonic() - began)), said, wait)


def answer(
    pool: httpcore.ConnectionPool, url: httpx.URL, headers: Mapping[str, str], body: bytes
) -> tuple[int, str, float | None]:
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    sent = {"Host": url.netloc.decode("ascii"), **HEADERS, **headers, "Content-Length": str(len(body))}
    with pool.stream("POST", target, headers=list(sent.items()), content=body) as response:
        fields = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        return response.status, words_of(response, fields), seconds_in(fields.get(b"retry-after", ""))


def words_of(response: httpcore.Response, fields: Mapping[bytes, str]) -> str:
    if 300 <= response.status < 400:
        return "It leads elsewhere, and redirects are not followed: name the address that it leads to."
    said = b""
    try:
        for chunk in response.iter_stream():
            said += chunk
            if len(said) >= READ:
                break
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError):
        pass  # how it answered is known by now
    words = said[:READ].decode("utf-8", "replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())[:KEPT]


def seconds_in(written: str) -> float | None:
    return float(written[:9]) if written.strip().isdecimal() and written.isascii() else None
