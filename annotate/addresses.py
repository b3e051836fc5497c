"""Pure: which servers of one's own a project may have asked. Whoever names an address makes this machine call it, with
posts in hand and from inside its network; so only site admins name any, and others those that are allowed to all."""

from collections.abc import Collection
from urllib.parse import SplitResult, unquote, urlsplit

PORTS = {"http": 80, "https": 443}


def problem_with(address: str, allowed: Collection[str]) -> str:
    """A sentence where only a site admin may use this address, or nothing."""
    if any(is_within(address, entry) for entry in allowed):
        return ""
    if not allowed:
        return (
            "Only a site admin may name a server's address here. Ask one to do it, "
            "or to allow the address for everybody in PROVIDER_BASE_URLS."
        )
    return (
        f"Only a site admin may name this address; allowed to everybody: {', '.join(sorted(allowed))}. "
        "A site admin can add to these in PROVIDER_BASE_URLS."
    )


def is_within(address: str, entry: str) -> bool:
    """`entry` is a host, a host and port, or an address that this one begins with."""
    asked, named = parsed(address), parsed(entry)
    if asked is None:
        return False
    if "://" not in entry:
        return host_of(asked, entry)
    if named is None or (asked.scheme, asked.hostname) != (named.scheme, named.hostname):
        return False
    beginning = named.path.rstrip("/")
    return port_of(asked) == port_of(named) and (asked.path == beginning or asked.path.startswith(f"{beginning}/"))


def host_of(asked: SplitResult, entry: str) -> bool:
    named = parsed(f"{asked.scheme}://{entry}")
    if named is None or named.path not in {"", "/"} or asked.hostname != named.hostname:
        return False
    return named.port is None or port_of(asked) == port_of(named)


def parsed(address: str) -> SplitResult | None:
    """None for what two readers might understand differently: such an address is never allowed by a list."""
    odd = any(not 32 < ord(letter) < 127 or letter in "\\@" for letter in address)
    if odd or ".." in unquote(address).split("/"):
        return None
    try:
        split = urlsplit(address)
        return split if split.scheme in PORTS and split.hostname and port_of(split) else None
    except ValueError:
        return None


def port_of(split: SplitResult) -> int:
    return split.port or PORTS[split.scheme]
