"""The body of a request that may carry pictures: read by hand, because Django takes 2.5 MB of it and no more."""

import io
import json
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from annotate.images import megabytes

CHUNK = 256 * 1024


class NotRead(Exception):
    """The words say why; the status is HTTP's."""

    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.status = status


def most() -> int:
    """The largest picture has room in it as base64, with its words."""
    return 2 * int(settings.IMAGE_MAX_BYTES)


def json_in(request: HttpRequest) -> Any:
    try:
        return json.loads(bytes_in(request))
    except (ValueError, RecursionError) as error:
        raise NotRead("The body is not JSON that can be read.") from error


def bytes_in(request: HttpRequest) -> bytes:
    """Of a stated length, or streamed: then the server knows where it ends."""
    streamed = request.headers.get("Transfer-Encoding", "").lower() == "chunked"
    source = request.META["wsgi.input"] if streamed else request
    body = io.BytesIO()
    while chunk := source.read(CHUNK):
        body.write(chunk)
        if body.tell() > most():
            raise NotRead(f"The body has more than the {megabytes(most())} allowed; send fewer posts at once.", 413)
    return body.getvalue()
