"""An address that lets somebody in is as good as a password: no log shows it."""

import logging
import re

SECRET = re.compile(r"(/invited/|/login/[^/\s]+/)[^/\s?]+")


class Masked(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = masked(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(masked(value) for value in record.args)
        return True


def masked(value: object) -> object:
    return SECRET.sub(r"\1***", value) if isinstance(value, str) else value
