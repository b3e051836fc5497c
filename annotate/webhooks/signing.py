"""Pure: signatures as the Standard Webhooks specification has them, so that any library for it can check ours."""

import base64
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"


def secret_from(key: bytes) -> str:
    return PREFIX + base64.b64encode(key).decode("ascii")


def signature(secret: str, message: str, at: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode("ascii")


def headers(secrets: Sequence[str], message: str, at: int, body: bytes) -> dict[str, str]:
    """While a secret is being changed both count: whoever checks finds the one they have."""
    return {
        "webhook-id": message,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(signature(secret, message, at, body) for secret in secrets),
    }
