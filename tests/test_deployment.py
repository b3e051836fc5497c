"""What is written down for whoever runs a site: Dockerfile, compose.yaml, units and proxies name what is there, and
their commands, run as they stand, are a site. There is no Docker here: the same commands run on a copy of what the
image would hold, each as a process of its own."""

import json
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import psutil
import pytest
import yaml
from axes.models import AccessAttempt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from django.conf import settings as site
from django.core.checks import run_checks
from django.core.management import get_commands
from django_q.models import Schedule
from moto.server import ThreadedMotoServer

from annotate import first_start
from annotate.login_links import login_link
from annotate.models import ImportRun, Post
from annotate.models.importing import ImportState
from annotate.operating import knock, preparing
from annotate.operating.settings_check import Given, shared_problems, web_problems, web_warnings

from .exporting import picture
from .make import make_project, make_user
from .ports import free_port
from .test_up import OURS, hear_hangups, soon
from .test_voting_faults import database_url

ROOT = Path(__file__).resolve().parent.parent
KEY = "one key for all the machines of this site, and a long one"
INSTRUCTION = re.compile(
    r"^(FROM|ARG|ENV|RUN|COPY|WORKDIR|USER|VOLUME|EXPOSE|STOPSIGNAL|HEALTHCHECK|CMD)\s+(.*)$", re.S
)
GIVEN = {"SECRET_KEY": KEY, "SITE_URL": "https://votes.example.org", "ALLOWED_HOSTS": "votes.example.org",
         "POSTGRES_PASSWORD": "letters"}  # fmt: skip


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: no line is left that Docker would not know."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [INSTRUCTION.fullmatch(line).groups() for line in joined.splitlines() if line.strip()]


def copied() -> list[tuple[str, str]]:
    """What comes from the checkout, and where to."""
    pairs = []
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            pairs += [(source, target) for source in sources]
    return pairs


def compose() -> dict[str, Any]:
    """Its variables filled in, as `docker compose config` would; one that is not given stops it with its sentence."""

    def filled(found: re.Match[str]) -> str:
        name, otherwise = found["name"], found["otherwise"]
        assert name in GIVEN or otherwise is not None, f"{name} is asked for and not told of"
        return GIVEN.get(name, otherwise or "")

    text = re.sub(
        r"\$\{(?P<name>\w+)(?::-(?P<otherwise>[^}]*)|:\?[^}]+)\}", filled, (ROOT / "compose.yaml").read_text()
    )
    return yaml.safe_load(text)


def health_check() -> list[str]:
    [asked] = [rest for name, rest in instructions() if name == "HEALTHCHECK"]
    return json.loads(asked[asked.index("[") :])


class TestDockerfile:
    def test_copies_only_what_is_there_and_is_not_ignored(self):
        ignored = (ROOT / ".dockerignore").read_text().split()
        assert copied()
        for source, _ in copied():
            assert (ROOT / source).exists(), source
            assert source not in ignored
        assert {".env", ".env.*", "var", ".git"} <= set(ignored)

    def test_each_stage_comes_from_one_that_is_there_and_runs_as_nobody_special(self):
        stages: dict[str, list[tuple[str, str]]] = {}
        for name, rest in instructions():
            if name == "FROM":
                source, _, stage = rest.partition(" AS ")
                assert source in stages or source == "scratch" or source.startswith("python:"), rest
                stages[stage] = []
            elif stages:
                stages[stage].append((name, rest))
                if rest.startswith("--from"):
                    assert rest.split()[0].removeprefix("--from=") in stages
        for stage in ("web", "gpu"):
            assert ("USER", "vote") in stages[stage]
            assert json.loads(dict(stages[stage])["CMD"])[:2] == ["python", "manage.py"]

    def test_its_commands_are_ours(self):
        for name, rest in instructions():
            if name in {"CMD", "HEALTHCHECK"}:
                known(json.loads(rest[rest.index("[") :]))

    def test_installs_extras_that_there_are_and_torch_for_cards_alone(self):
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        asked = [
            rest.split('".[')[1].split("]")[0].split(",") for name, rest in instructions() if 'install ".[' in rest
        ]
        assert all(extra in extras for extras_asked in asked for extra in extras_asked)
        assert "train" not in asked[0]
        assert "train" in asked[1]

    def test_what_it_copies_first_is_enough_for_pip_to_know_the_packages(self, tmp_path):
        for source in [source for source, target in copied() if target == "./"]:
            shutil.copy(ROOT / source, tmp_path)
        program = "import setuptools.build_meta as b; print(b.prepare_metadata_for_build_wheel('.'))"
        ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        [told] = tmp_path.glob("*.dist-info/METADATA")
        assert "Requires-Dist: django<5.3" in told.read_text()


def known(command: list[str]) -> None:
    """A command of ours, by a Python that has our code."""
    if command[1] == "manage.py":
        assert command[2] in get_commands(), command
    else:
        assert command[1] == "-m"
        assert (ROOT / f"{command[2].replace('.', '/')}.py").exists(), command


class TestCompose:
    def test_holds_what_a_site_is_and_no_secret(self):
        told = compose()
        services = told["services"]
        assert set(services) == {"postgres", "prepare", "web", "worker", "gpu"}
        assert services["gpu"]["profiles"] == ["gpu"]
        [card] = services["gpu"]["deploy"]["resources"]["reservations"]["devices"]
        assert (card["driver"], card["capabilities"]) == ("nvidia", ["gpu"])
        for name in ("web", "worker", "gpu"):
            assert services[name]["depends_on"]["prepare"] == {"condition": "service_completed_successfully"}
        stages = {rest.partition(" AS ")[2] for name, rest in instructions() if name == "FROM"}
        for name in set(services) - {"postgres"}:
            known(services[name]["command"])
            assert services[name]["build"]["target"] in stages
            assert services[name]["environment"]["SECRET_KEY"] == KEY
        named = {volume.split(":")[0] for one in services.values() for volume in one["volumes"] if ":" in volume}
        assert named == set(told["volumes"])

    def test_gives_settings_that_there_are(self):
        read = (ROOT / "annotate" / "settings.py").read_text()
        for name in compose()["services"]["web"]["environment"]:
            assert f'"{name}"' in read, name

    def test_gives_enough_that_the_start_complains_of_nothing(self):
        told = compose()["services"]["web"]["environment"]
        given = Given(told["DATABASE_URL"], told["SECRET_KEY"], told["SITE_URL"], (told["ALLOWED_HOSTS"],),
                      int(told["TRUSTED_PROXIES"]))  # fmt: skip
        assert [*shared_problems(given), *web_problems(given), *web_warnings(given)] == []


def units() -> Iterator[tuple[str, dict[str, list[str]]]]:
    for path in sorted((ROOT / "deploy" / "systemd").glob("*.service")):
        lines = [line for line in path.read_text().splitlines() if "=" in line and not line.startswith("#")]
        told: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition("=")
            told.setdefault(name, []).append(value)
        yield path.name, told


def test_units_start_commands_of_ours_and_give_up_what_they_do_not_need():
    assert len(list(units())) == 3
    for name, told in units():
        for line in told["ExecStart"] + told.get("ExecStartPre", []):
            known(shlex.split(line))
        assert told["NoNewPrivileges"] == ["true"], name
        assert told["ProtectSystem"] == ["strict"], name
        assert told["User"] == ["casting-vote"], name
        assert told["EnvironmentFile"] == ["/etc/casting-vote.env"], name
    read = (ROOT / "annotate" / "settings.py").read_text()
    for line in (ROOT / "deploy" / "casting-vote.env.example").read_text().splitlines():
        assert line.startswith("#") or f'"{line.partition("=")[0]}"' in read, line


@pytest.mark.parametrize(("changed", "says"), [
    ({"database_url": ""}, "DATABASE_URL is not set"),
    ({"secret_key": ""}, "SECRET_KEY is not set"),
    ({"secret_key": "short"}, "SECRET_KEY has 5 characters"),
    ({"site_url": ""}, "SITE_URL is not set"),
    ({"site_url": "votes.example.org"}, "write it as https://"),
    ({"allowed_hosts": ("localhost",)}, "ALLOWED_HOSTS=votes.example.org"),
    ({"trusted_proxies": 0}, "TRUSTED_PROXIES=1"),
    ({"site_url": "http://votes.example.org"}, "without TLS"),
    ({"allowed_hosts": ("*",)}, "ALLOWED_HOSTS holds *"),
    ({"site_url": "http://localhost:8000", "allowed_hosts": ("localhost",), "trusted_proxies": 0,
      "trusted_origins": ("https://votes.example.org",)}, "counts as one address"),
])  # fmt: skip
def test_what_would_not_work_is_said_before_the_start(changed, says):
    right = {"database_url": "postgresql://db/votes", "secret_key": KEY, "site_url": "https://votes.example.org",
             "allowed_hosts": ("votes.example.org",), "trusted_proxies": 1}  # fmt: skip
    assert not [*shared_problems(Given(**right)), *web_problems(Given(**right)), *web_warnings(Given(**right))]
    given = Given(**right | changed)
    [sentence] = [*shared_problems(given), *web_problems(given), *web_warnings(given)]
    assert says in sentence


def test_check_of_a_deployment_says_it_too(settings, monkeypatch):
    monkeypatch.setenv("SITE_URL", "https://votes.example.org")
    settings.SITE_URL, settings.ALLOWED_HOSTS = "https://votes.example.org", ["votes.example.org"]

    def said() -> list[str]:
        return [one.msg for one in run_checks(include_deployment_checks=True) if one.id == "annotate.W001"]

    settings.TRUSTED_PROXIES = 0
    [sentence] = said()
    assert "TRUSTED_PROXIES=1" in sentence
    settings.TRUSTED_PROXIES = 1
    assert said() == []


@pytest.mark.django_db
def test_prepared_is_only_what_has_all_that_is_done_every_minute():
    first_start.migrate(print)
    assert preparing.is_prepared()
    for planned in first_start.SWEEPS:
        Schedule.objects.get(name=planned).delete()
        assert not preparing.is_prepared(), planned
        first_start.migrate(print)
        assert preparing.is_prepared()


# --- The same commands, without Docker


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image holds of the checkout, and nothing else of it."""
    app = tmp_path_factory.mktemp("image") / "app"
    app.mkdir()
    for source, target in copied():
        if target != "./":
            to = app / target.lstrip("/") if (ROOT / source).is_dir() else app
            (shutil.copytree if to != app else shutil.copy)(ROOT / source, to)
    return app


class Machine:
    """A container, or a machine: a folder of its own, and the database and the pictures of all."""

    def __init__(self, name: str, image: Path, folder: Path, environment: dict[str, str]) -> None:
        self.name, self.image, self.var = name, image, folder / name
        self.var.mkdir()
        self.environment = environment | {"VAR_DIR": str(self.var), "DATABASE_URL": database_url()}
        self.running: list[psutil.Popen] = []

    def command(self, service: str, *more: str) -> list[str]:
        """As compose.yaml has it, by the Python that runs the tests."""
        python, *rest = compose()["services"][service]["command"]
        assert python == "python"
        return [sys.executable, *rest, *more]

    def given(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in OURS | {"Q_CLUSTER_NAME"}}
        return inherited | {"OMP_NUM_THREADS": "1", "LOG_LEVEL": "WARNING"} | self.environment

    def run(self, service: str, *more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(service, *more), cwd=self.image, env=self.given(), capture_output=True, text=True, timeout=120
        )

    def start(self, service: str, *more: str) -> psutil.Popen:
        with (self.var / f"{service}.log").open("ab") as said:
            process = psutil.Popen(
                self.command(service, *more), cwd=self.image, env=self.given(), stdout=said, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=hear_hangups,
            )  # fmt: skip
        self.running.append(process)
        return process

    def said(self, service: str) -> str:
        return (self.var / f"{service}.log").read_text()

    def serve(self) -> str:
        port = free_port()
        process = self.start("web", "--port", str(port))
        address = f"http://127.0.0.1:{port}"
        assert soon(lambda: process.poll() is not None or answers(f"{address}/login"), 60), self.said("web")
        assert process.poll() is None, self.said("web")
        return address


def answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5, headers={"X-Forwarded-Proto": "https"}).status_code < 500
    except httpx.HTTPError:
        return False


@pytest.fixture
def machine(image, tmp_path, request) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def new(name: str, **environment: str) -> Machine:
        usual = {"SECRET_KEY": KEY, "SITE_URL": "http://127.0.0.1:8000", "ALLOWED_HOSTS": "127.0.0.1,localhost",
                 "MEDIA_ROOT": str(tmp_path / "media"), "WEB_WORKERS": "1", "QUEUE_WORKERS": "1"}  # fmt: skip
        made.append(Machine(name, image, tmp_path, usual | environment))
        return made[-1]

    yield new
    for process in [process for one in made for process in one.running]:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ended(process: psutil.Popen) -> tuple[int, list[psutil.Process]]:
    """By TERM, as Docker and systemd do it: its exit, and what is left of it."""
    children = process.children(recursive=True)
    process.terminate()
    code = process.wait(60)
    return code, psutil.wait_procs(children, timeout=5)[1]


@pytest.fixture
def media(request, tmp_path, monkeypatch) -> Iterator[dict[str, str]]:
    """Where pictures are that several machines share."""
    if request.param == "a folder":
        yield {}
        return
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    address = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="key",
                 aws_secret_access_key="secret").create_bucket(Bucket="machines")  # fmt: skip
    yield {"MEDIA_S3_BUCKET": "machines", "MEDIA_S3_ENDPOINT": address, "MEDIA_S3_REGION": "us-east-1", **keys,
           "MEDIA_ROOT": str(tmp_path / "nothing comes here")}  # fmt: skip
    server.stop()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("media", ["a folder", "a bucket"], indirect=True)
def test_two_machines_are_one_site(machine, media, tmp_path):
    """Logged in at one and known at the other; sent to one, worked off by the other, and shown by both."""
    admin = make_user("ada", is_superuser=True, is_staff=True)
    project = make_project("Memes", ("bearish", "bullish"), audit_rate=0)
    one, other = machine("one", **media), machine("other", **media)
    refused = one.run("web")
    assert refused.returncode != 0
    assert "manage.py prepare" in refused.stderr
    for _ in range(2):  # as at every new version
        prepared = one.run("prepare")
        assert "The database is prepared" in prepared.stdout, prepared.stderr
    planned = list(Schedule.objects.values_list("name", flat=True))
    assert set(first_start.SWEEPS) <= set(planned)
    assert len(set(planned)) == len(planned)
    here, there = one.serve(), other.serve()
    worker = other.start("worker")
    with zipfile.ZipFile(tmp_path / "memes.zip", "w") as archive:
        for n in range(4):
            archive.writestr(f"{('bearish', 'bullish')[n % 2]}/{n}.png", picture(n))

    site.SECRET_KEY, before = KEY, site.SECRET_KEY  # this process stands for whoever prints a link on the server
    try:
        link = login_link(admin)
    finally:
        site.SECRET_KEY = before
    with httpx.Client(follow_redirects=True, timeout=60) as browser:
        assert browser.get(f"{here}{link}").status_code == 200
        page = browser.get(f"{there}/p/{project.slug}/imports/new")  # the same cookie: ports are no part of it
        assert "A file with posts" in page.text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)[1]
        sent = browser.post(
            f"{here}/p/{project.slug}/imports/new", data={"csrfmiddlewaretoken": token},
            files={"file": ("memes.zip", (tmp_path / "memes.zip").read_bytes())}, headers={"Origin": here},
        )  # fmt: skip
        run = ImportRun.objects.get()
        assert sent.url.path == f"/p/{project.slug}/imports/{run.pk}"
        browser.post(
            f"{there}/p/{project.slug}/imports/{run.pk}/start",
            data={"csrfmiddlewaretoken": token, "format": "", "columns": ""}, headers={"Origin": there},
        )  # fmt: skip
        assert soon(lambda: ImportRun.objects.get().state == ImportState.DONE, 90), other.said("worker")
        image = Post.objects.select_related("image").earliest("pk").image
        shown = [browser.get(f"{place}/p/{project.slug}/images/{image.sha256}.png") for place in (here, there)]
        assert [answer.status_code for answer in shown] == [200, 200]
        assert shown[0].content == shown[1].content
        styles = re.search(r'href="(/static/css/site\.\w+\.css)"', page.text)[1]
        assert browser.get(f"{here}{styles}").headers["Cache-Control"].endswith("immutable")
    for address in (here, there):
        assert httpx.get(f"{address}/readyz?exclude=queue_gpu").json()["ready"]
        asked = [word.replace("http://127.0.0.1:8000", address) for word in health_check()]
        ran = subprocess.run(
            [sys.executable, *asked[1:]], cwd=one.image, env=one.given(), capture_output=True, text=True
        )
        assert (ran.returncode, ran.stderr) == (0, "")
    assert not list((one.var).glob("media/*"))
    assert (tmp_path / "media").exists() is ("MEDIA_S3_BUCKET" not in media)
    assert knock.problem_at(f"http://127.0.0.1:{free_port()}/healthz", "").endswith("Connection refused.")
    for process in (*one.running, *other.running):
        code, left = ended(process)
        assert (code, left) == (0, []), (code, left, one.said("web"), other.said("web"), other.said("worker"))
    assert worker.returncode == 0
    assert "Traceback" not in one.said("web") + other.said("web") + other.said("worker")


def test_without_what_they_share_they_say_what_is_missing(machine):
    alone = machine("alone", SECRET_KEY="", SITE_URL="https://votes.example.org")
    alone.environment["DATABASE_URL"] = ""
    for service, sentences in {
        "web": ["DATABASE_URL is not set", "SECRET_KEY is not set", "ALLOWED_HOSTS", "TRUSTED_PROXIES"],
        "worker": ["DATABASE_URL is not set", "SECRET_KEY is not set"],
        "prepare": ["DATABASE_URL is not set", "SECRET_KEY is not set"],
    }.items():
        ran = alone.run(service)
        assert ran.returncode != 0
        assert "Traceback" not in ran.stderr
        assert len(ran.stderr.strip().splitlines()) == len(sentences), ran.stderr
        assert all(sentence in ran.stderr for sentence in sentences), ran.stderr
    assert not (alone.var / "postgres").exists()


# --- Behind the proxies whose settings we give


def certificate(folder: Path) -> tuple[Path, Path]:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "votes.example.org")])
    day = datetime(2020, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day.replace(year=2099))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("votes.example.org")]), critical=False)
    (folder / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = (serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    return folder / "cert.pem", folder / "key.pem"


def nginx(folder: Path, server: str, port: int, plain: int) -> list[str]:
    """As it stands, but for the ports and the certificate."""
    cert, key = certificate(folder)
    ours = (ROOT / "deploy" / "nginx.conf").read_text()
    for old, new in {
        "server 127.0.0.1:8000;": f"server {server};", "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl", "/etc/ssl/votes.example.org/fullchain.pem": str(cert),
        "/etc/ssl/votes.example.org/privkey.pem": str(key),
    }.items():  # fmt: skip
        assert old in ours
        ours = ours.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    user = "user root;" if os.getuid() == 0 else ""
    main = f"{user} worker_processes 1; pid {folder}/pid; error_log stderr; events {{}}\n"
    (folder / "nginx.conf").write_text(f"{main} http {{ access_log off; {paths}\n{ours} }}")
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]


def caddy(folder: Path, server: str, port: int, plain: int) -> list[str]:
    cert, key = certificate(folder)
    ours = (ROOT / "deploy" / "Caddyfile").read_text()
    head = f"https://votes.example.org:{port} {{\n\ttls {cert} {key}\n"
    ours = ours.replace("votes.example.org {\n", head).replace("127.0.0.1:8000 {", f"{server} {{")
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\thttp_port {plain}\n}}\n{ours}")
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("proxy", [nginx, caddy])
def test_behind_a_proxy_it_is_one_secure_site(machine, tmp_path, proxy):
    if not shutil.which(proxy.__name__):
        pytest.skip(f"{proxy.__name__} is not installed here")
    one = machine("one", SITE_URL="https://votes.example.org", ALLOWED_HOSTS="votes.example.org", TRUSTED_PROXIES="1",
                  METRICS_TOKEN="scrape")  # fmt: skip
    assert one.run("prepare").returncode == 0
    server, port, plain = one.serve(), free_port(), free_port()
    (tmp_path / "proxy").mkdir()
    with (tmp_path / "proxy.log").open("w") as said:
        command = proxy(tmp_path / "proxy", server.removeprefix("http://"), port, plain)
        one.running.append(psutil.Popen(command, stdout=said, stderr=said, start_new_session=True, env=os.environ | {
            "HOME": str(tmp_path)}))  # fmt: skip
    trust = ssl.create_default_context(cafile=tmp_path / "proxy" / "cert.pem")
    with httpx.Client(
        base_url=f"https://127.0.0.1:{port}", headers={"Host": "votes.example.org"}, verify=trust, timeout=30
    ) as browser:
        known_as = {"sni_hostname": "votes.example.org"}

        def ask(path: str, **more: Any) -> httpx.Response | None:
            try:
                return browser.request(more.pop("method", "GET"), path, extensions=known_as, **more)
            except httpx.TransportError:
                return None

        assert soon(lambda: ask("/login") is not None, 30), (tmp_path / "proxy.log").read_text()
        page = ask("/login")
        assert page.status_code == 200, page.text
        assert page.headers["Strict-Transport-Security"].startswith("max-age=31536000")
        assert "Secure" in page.headers["Set-Cookie"]
        redirected = httpx.get(f"http://127.0.0.1:{plain}/login", headers={"Host": "votes.example.org"})
        assert redirected.is_redirect
        assert redirected.headers["Location"].startswith("https://votes.example.org")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)[1]
        wrong = ask(
            "/login", method="POST",
            headers={"Referer": "https://votes.example.org/login", "X-Forwarded-For": "6.6.6.6"},
            cookies={"csrftoken": page.cookies["csrftoken"]},
            data={"csrfmiddlewaretoken": token, "username": "ada", "password": "x", "padding": "y" * 2_000_000},
        )  # fmt: skip
        assert wrong.status_code == 422, wrong.text  # not 413: what is too large, the site says
        assert [attempt.ip_address for attempt in AccessAttempt.objects.all()] == ["127.0.0.1"]
        assert ask("/metrics", headers={"Authorization": "Bearer scrape"}).status_code == 404
        assert "csrf" not in ask("/healthz").text
    assert httpx.get(f"{server}/metrics", headers={"Authorization": "Bearer scrape"}).status_code == 200
