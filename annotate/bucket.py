"""Pictures, uploads, reports and results in a bucket (S3, or what speaks it) in place of MEDIA_ROOT.

django-storages asks twice whether an object is there before it reads it, reads it whole into memory, and tells of its
troubles in words of its own. Here a picture is one request, a long file is read piece by piece from wherever it is
needed, and trouble is an OSError, which is what everybody who opens files is ready for.
"""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.exceptions import SuspiciousOperation
from django.core.files import File
from storages.backends.s3 import S3Storage
from storages.utils import clean_name

PIECE = 8 * 1024**2
CONNECTIONS = 32  # of a process at once; more than the threads that it reads and writes with
GONE = {"404", "NoSuchKey", "NotFound"}
PATIENCE: dict[str, Any] = {
    "connect_timeout": 5, "read_timeout": 30, "retries": {"mode": "standard", "max_attempts": 3}
}  # fmt: skip
EMPTY = "InvalidRange"  # what asking for the first bytes of nothing is answered with


def client_config(endpoint: str) -> Config:
    """Servers other than Amazon's are named by one address for all buckets, and few know its newer checksums."""
    elsewhere: dict[str, Any] = {
        "s3": {"addressing_style": "path"},
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    return Config(
        signature_version="s3v4", max_pool_connections=CONNECTIONS, **PATIENCE, **(elsewhere if endpoint else {})
    )


class Bucket(S3Storage):  # type: ignore[misc]
    """One client for all threads of a process: making one takes longer than reading a hundred pictures."""

    def __init__(self, **options: Any) -> None:
        super().__init__(client_config=client_config(options.get("endpoint_url") or ""), file_overwrite=True, **options)
        self.making = threading.Lock()
        self.made: Any = None

    @property
    def client(self) -> Any:
        with self.making:
            if self.made is None:
                self.made = self.connection.meta.client
        return self.made

    def key(self, name: str) -> str:
        return str(self._normalize_name(clean_name(name)))

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        assert mode == "rb", "what is stored is replaced as a whole"
        key = self.key(name)
        with troubles(name):
            pieces = Pieces(lambda start, etag: self.piece(key, start, etag))
        return File(io.BufferedReader(pieces, 256 * 1024), name)

    def piece(self, key: str, start: int, etag: str) -> "Piece":
        """Of the very object that was begun with: another by that name is not its continuation."""
        same = {"IfMatch": etag} if etag else {}
        wanted = f"bytes={start}-{start + PIECE - 1}"
        with troubles(key):
            try:
                told = self.client.get_object(Bucket=self.bucket_name, Key=key, Range=wanted, **same)
            except ClientError as error:
                if code_of(error) != EMPTY:
                    raise
                return Piece(b"", 0, "")
            size = int(told["ContentRange"].rpartition("/")[2]) if "ContentRange" in told else told["ContentLength"]
            return Piece(told["Body"].read(), size, told["ETag"])

    def _save(self, name: str, content: File[bytes]) -> str:
        name = clean_name(name)
        what = self._get_write_parameters(name, content)
        with troubles(name):
            content.seek(0)
            if content.size <= PIECE:
                self.client.put_object(Bucket=self.bucket_name, Key=self.key(name), Body=content.read(), **what)
                return name
            return str(super()._save(name, content))

    def delete(self, name: str) -> None:
        with troubles(name):
            self.client.delete_object(Bucket=self.bucket_name, Key=self.key(name))

    def exists(self, name: str) -> bool:
        with troubles(name):
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        with troubles(name):
            return int(super().size(name))

    def listdir(self, name: str) -> tuple[list[str], list[str]]:
        with troubles(name):
            folders, files = super().listdir(name)
            return list(folders), list(files)

    def listed(self, folder: str) -> Iterator[tuple[str, int, datetime]]:
        """Name, size and when it was written, of all that lies in it however deep, a thousand a request. What another
        program has put there under a name that none of ours can be is no file of ours."""
        above = f"{self.location.strip('/')}/" if self.location else ""
        inside = f"{above}{folder}/" if folder else above
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket_name, Prefix=inside)
        with troubles(folder):
            for page in pages:
                for told in page.get("Contents", ()):
                    name = told["Key"].removeprefix(above)
                    if not name.endswith("/") and self.bears(told["Key"], name):
                        yield name, told["Size"], told["LastModified"]

    def bears(self, key: str, name: str) -> bool:
        """Else whoever removes it by that name removes another."""
        try:
            return self.key(name) == key
        except SuspiciousOperation:
            return False

    def get_modified_time(self, name: str) -> datetime:
        with troubles(name):
            changed: datetime = super().get_modified_time(name)
            return changed


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def troubles(name: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if code_of(error) in GONE:
            raise FileNotFoundError(f"{name} is not in the bucket.") from error
        raise OSError(f"the bucket with the pictures says {code_of(error) or 'no'}") from error
    except BotoCoreError as error:
        raise OSError(f"the bucket with the pictures cannot be reached ({type(error).__name__})") from error


class Piece:
    def __init__(self, data: bytes, size: int, etag: str) -> None:
        self.data, self.size, self.etag = data, size, etag


class Pieces(io.RawIOBase):
    """An object as a file that can be read from anywhere; no more than one piece of it is ever held."""

    def __init__(self, ask: Callable[[int, str], Piece]) -> None:
        self.ask, self.at, self.start = ask, 0, 0
        self.held = ask(0, "")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.held.size}[whence])
        return self.at

    def readinto(self, into: Any) -> int:
        if self.at >= self.held.size:
            return 0
        if not self.start <= self.at < self.start + len(self.held.data):
            self.held, self.start = self.ask(self.at, self.held.etag), self.at
        target = memoryview(into)
        begin = self.at - self.start
        part = self.held.data[begin : begin + len(target)]
        target[: len(part)] = part
        self.at += len(part)
        return len(part)
