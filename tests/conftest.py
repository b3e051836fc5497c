import ipaddress
import logging
import os
import shutil
import sys
import tempfile
from typing import Any

import hypothesis
import pytest
from django.conf import settings

from annotate import database

# Before Django opens a connection: a PostgreSQL of our own that may forget everything, unless DATABASE_URL names one.
settings.DATABASE_POOL = 0
settings.DATABASES["default"]["OPTIONS"].pop("pool", None)
database.attach(settings.VAR_DIR / "postgres-test", throwaway=True)

settings.SITE_URL = "http://127.0.0.1:8000"  # whatever is up beside the tests

# Files are served as they lie, passwords are hashed in no time, and a login is no news.
settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
for name in ("axes", "annotate.requests", "annotate.tasks"):
    logging.getLogger(name).setLevel(logging.WARNING)

# A busy machine is no failure: no test asserts how long something takes.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# Two runs in one checkout would drop each other's test database: TEST_DB=mine sets one apart.
if apart := os.environ.get("TEST_DB"):
    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = f"test_{database.NAME}_{apart}"


def refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """No test asks anything of another machine. Python reports each attempt here, whichever library makes it."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in {"socket.connect", "socket.sendto", "socket.sendmsg"} and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if not is_here(host.decode() if isinstance(host, bytes) else host):
        raise RuntimeError(f"A test wanted to reach {host}; tests stay on this machine.")  # no OSError: nobody retries


def is_here(host: str | None) -> bool:
    if host in {None, "", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback  # type: ignore[arg-type]
    except ValueError:
        return False


sys.addaudithook(refuse_network)

OWN = pytest.StashKey[str]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # Each session has a folder of its own. In the one that all share pytest shuts out other users whenever a session
    # begins, and to root PostgreSQL is another user: a test that runs pytest took the files from under a site's server.
    if not config.option.basetemp:  # the workers of a session have theirs in its folder
        config.option.basetemp = config.stash[OWN] = tempfile.mkdtemp(prefix="cv-")
    config.addinivalue_line("filterwarnings", "ignore:No directory at:UserWarning")  # nothing is collected for tests


# None that empties tables: these come first, and others need what migrations wrote there.
PAID_FOR_AT_ONCE = {"tests/test_up.py", "tests/test_demo.py", "tests/test_risk.py"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Test by test to whoever has time, but for the files whose first test pays for all the others."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file in PAID_FOR_AT_ONCE else nodeid

    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def _own_files(settings, tmp_path):
    """No test writes where the product keeps its data."""
    settings.MEDIA_ROOT = tmp_path / "media"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """What a test that failed has left there may be looked at."""
    own = session.config.stash.get(OWN, "")
    if own and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(own, ignore_errors=True)
