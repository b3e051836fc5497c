"""Fetch a picture from an address somebody else wrote, without being turned against the network we stand in."""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import Any

import httpcore
import httpx

MAX_REDIRECTS = 5
LIMIT_BYTES = 20 * 1024**2
TIMEOUT = 20.0
PORTS = {"http": 80, "https": 443}
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
HEADERS = {"User-Agent": "casting-vote", "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}

Resolve = Callable[..., Iterable[tuple[Any, ...]]]  # as socket.getaddrinfo
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refused(Exception):
    """The message is one sentence for the user."""


def fetch_image(
    url: str,
    *,
    limit_bytes: int = LIMIT_BYTES,
    timeout: float = TIMEOUT,
    allow_hosts: Collection[str] = (),
    resolve: Resolve = socket.getaddrinfo,
) -> bytes:
    """`timeout` is for all of it, redirects included. `allow_hosts` may have any address and any port."""
    wire = GuardedNetwork(time.monotonic() + timeout, allow_hosts, resolve)
    target = url
    with httpcore.ConnectionPool(ssl_context=ssl_context(), network_backend=wire) as pool:
        for _ in range(MAX_REDIRECTS + 1):
            address = checked_url(target, allow_hosts)
            try:
                found = answer(pool, address, limit_bytes)
            except httpcore.TimeoutException as error:
                raise Refused(f"{address.host} took more than {timeout:g} seconds.") from error
            except (httpcore.NetworkError, httpcore.ProtocolError) as error:
                raise Refused(f"{address.host} could not be reached: {error or 'the connection broke'}.") from error
            if isinstance(found, bytes):
                return found
            target = found
    raise Refused(f"{url} leads from one address to the next more than {MAX_REDIRECTS} times.")


@cache
def ssl_context() -> ssl.SSLContext:
    return httpcore.default_ssl_context()  # reading the certificates takes longer than many a fetch


def checked_url(url: str, allow_hosts: Collection[str]) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise Refused(f"{url[:200]!r} is not a web address.") from error
    if address.scheme not in PORTS or not address.host:
        raise Refused(f"{url[:200]!r} is not an http or https address.")
    if address.userinfo:
        raise Refused(f"The address at {address.host} holds a user name or password; only public pictures are fetched.")
    if address.port not in {None, PORTS[address.scheme]} and address.host not in allow_hosts:
        raise Refused(f"{address.host} is asked for on port {address.port}; only 80 and 443 are allowed.")
    return address


def answer(pool: httpcore.ConnectionPool, address: httpx.URL, limit_bytes: int) -> bytes | str:
    """The picture, or where it went."""
    target = httpcore.URL(scheme=address.raw_scheme, host=address.raw_host, port=address.port, target=address.raw_path)
    with pool.stream("GET", target, headers=[("Host", address.netloc.decode("ascii")), *HEADERS.items()]) as response:
        fields = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status in {301, 302, 303, 307, 308} and b"location" in fields:
            return joined(address, fields[b"location"])
        if response.status != 200:
            raise Refused(f"{address.host} answered {response.status} instead of a picture.")
        if fields.get(b"content-type", "").startswith("text/html"):
            raise Refused(f"{address.host} answered with a web page instead of a picture.")
        return body(response, fields.get(b"content-length", ""), limit_bytes)


def joined(address: httpx.URL, location: str) -> str:
    try:
        return str(address.join(location))
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused(f"{address.host} leads to {location[:200]!r}, which is not a web address.") from error


def body(response: httpcore.Response, announced: str, limit_bytes: int) -> bytes:
    too_big = Refused(f"The picture has more than the {limit_bytes / 1024**2:.4g} MB allowed.")
    if announced.isdigit() and int(announced[:20]) > limit_bytes:
        raise too_big
    data = bytearray()
    for chunk in response.iter_stream():
        data += chunk
        if len(data) > limit_bytes:
            raise too_big
    return bytes(data)


# --- The one place where a connection is opened
class GuardedNetwork(httpcore.NetworkBackend):
    """Names are looked up, checked and connected to in one step, so no second lookup can give another address.

    The request keeps its name: the Host header, and the certificate that TLS asks for, are those of the URL.
    """

    def __init__(self, deadline: float, allow_hosts: Collection[str], resolve: Resolve) -> None:
        self.deadline = deadline
        self.allow_hosts = allow_hosts
        self.resolve = resolve
        self.network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("it has no address")
        addresses = self._addresses(host, port)
        for tried, address in enumerate(addresses):
            share = left(self.deadline) / (len(addresses) - tried)  # one that never answers leaves time for the next
            try:
                stream = self.network.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return TimedStream(stream, self.deadline)
        raise failure

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = self.resolve(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Refused(f"{host} is not known: no address is found under this name.") from error
        addresses = [str(entry[4][0]) for entry in found]
        if host not in self.allow_hosts and not all(is_public(address) for address in addresses):
            raise Refused(f"{host} is an address inside a private network, where nothing is fetched.")
        return addresses


class TimedStream(httpcore.NetworkStream):
    """One deadline for all reads and writes: a server that sends a byte a second never trips a timeout for each."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self.stream = stream
        self.deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, left(self.deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, left(self.deadline))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return TimedStream(self.stream.start_tls(ssl_context, server_hostname, left(self.deadline)), self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise httpcore.ReadTimeout
    return seconds


def is_public(text: str) -> bool:
    try:
        address: Address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if (
            address.is_site_local or address.sixtofour or address.teredo
        ):  # given up long ago, yet some networks route them
            return False
        address = embedded(address) or address
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to this one really go to."""
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped
