"""How much of an upload is taken in before anything is known about it."""

from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import FileUploadHandler


class Bounded(FileUploadHandler):
    """The check against forged requests reads a form to its end, whoever sends it: no stranger may fill the disk."""

    def handle_raw_input(
        self,
        input_data: IO[bytes],
        META: dict[str, str],
        content_length: int,
        boundary: str,
        encoding: str | None = None,
    ) -> None:
        user = getattr(self.request, "user", None)
        known = user is not None and user.is_authenticated
        allowed = settings.UPLOAD_MAX_BYTES if known else 0
        if content_length > allowed + settings.DATA_UPLOAD_MAX_MEMORY_SIZE:  # which is for the rest of the form
            raise RequestDataTooBig(f"The upload is larger than {allowed:,} bytes.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        return raw_data

    def file_complete(self, file_size: int) -> Any:
        return None
