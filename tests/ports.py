"""Ports for servers that tests start, and start again where they died."""

import random
import socket
from contextlib import suppress

# Below those that systems lend to clients: a port that a server has just left must not become somebody's way out, not
# even, by luck, that of the very client that asks whether the server is back.
LEAST, MOST = 15_000, 29_999


def free_port() -> int:
    for port in random.SystemRandom().sample(range(LEAST, MOST), 200):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError(f"Of 200 ports between {LEAST} and {MOST} none is free.")
