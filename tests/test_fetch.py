import shutil
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from annotate import fetch
from annotate.fetch import Refused, fetch_image, is_public

PICTURE = bytes(range(256)) * 40
HOST = "pictures.example"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.path, self.headers["Host"]))
        getattr(self, "get_" + self.path.strip("/").split("/")[0].split("?")[0])()

    def reply(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def get_picture(self):
        self.reply(body=PICTURE, Content_Type="image/jpeg")

    def get_endless(self):
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(b"x" * 10_000)

    def get_page(self):
        self.reply(body=b"<html>", Content_Type="text/html; charset=utf-8")

    def get_missing(self):
        self.reply(404)

    def get_hop(self):
        left = int(self.path.rsplit("/", 1)[1])
        self.reply(302, Location=f"/hop/{left - 1}" if left else "/picture")

    def get_to(self):
        self.reply(302, Location=self.path.split("?", 1)[1])

    def get_drip(self):
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.05)

    def get_dripping_headers(self):
        for _ in range(100):
            self.wfile.write(b"HTTP/1.1 200 OK\r\n" if _ == 0 else b"X-More: 1\r\n")
            self.wfile.flush()
            time.sleep(0.05)

    def get_nonsense(self):
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")

    def get_cut(self):
        self.reply(body=b"x", Content_Length="100")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that hangs up is what most of these tests are about."""


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        server.seen = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


class Names:
    """A name server of our own, which counts what it is asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = []

    def __call__(self, host: str, port: int, **_):
        self.asked.append(host)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer.split()]


def fetched(server, path: str, host: str = HOST, **options) -> bytes:
    options = {"limit_bytes": 50_000, "timeout": 5, "allow_hosts": [HOST], "resolve": Names("127.0.0.1")} | options
    return fetch_image(f"http://{host}:{server.server_port}{path}", **options)


@pytest.fixture
def open_port(server, monkeypatch):
    """As if the test server stood at a public address on port 80."""
    monkeypatch.setattr(fetch, "PORTS", {"http": server.server_port, "https": 443})
    monkeypatch.setattr(fetch, "is_public", lambda address: address == "127.0.0.1")
    return server


def test_a_picture_is_fetched_under_its_own_name(server):
    assert fetched(server, "/picture?a=b%20c") == PICTURE
    assert server.seen == [("/picture?a=b%20c", f"{HOST}:{server.server_port}")]


def test_redirects_are_followed_five_times(server):
    assert fetched(server, "/hop/4") == PICTURE
    with pytest.raises(Refused, match="more than 5 times"):
        fetched(server, "/hop/5")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/missing", "answered 404"),
        ("/page", "a web page instead"),
        ("/nonsense", "could not be reached"),
        ("/cut", "could not be reached"),
        ("/endless", "more than the"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(server, path, words):
    with pytest.raises(Refused, match=words):
        fetched(server, path)


def test_an_announced_size_is_refused_at_once(server):
    with pytest.raises(Refused, match="MB allowed"):
        fetched(server, "/picture", limit_bytes=len(PICTURE) - 1)
    assert fetched(server, "/picture", limit_bytes=len(PICTURE)) == PICTURE


@pytest.mark.parametrize("path", ["/drip", "/dripping_headers"])
def test_a_slow_answer_is_cut_off_in_time(server, path):
    began = time.monotonic()
    with pytest.raises(Refused, match=r"more than 0\.3 seconds"):
        fetched(server, path, timeout=0.3)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://pictures.example/a.jpg", "not an http"),
        ("file:///etc/passwd", "not an http"),
        ("gopher://127.0.0.1/", "not an http"),
        ("//pictures.example/a.jpg", "not an http"),
        ("a.jpg", "not an http"),
        ("", "not an http"),
        ("http://", "not an http"),
        ("http://[::1", "not a web address"),
        ("http://a\x00b/", "not a web address"),
        ("http://user:secret@pictures.example/a.jpg", "user name"),
        ("http://user@pictures.example/a.jpg", "user name"),
        ("http://pictures.example:22/a.jpg", "port 22"),
        ("https://pictures.example:80/a.jpg", "port 80"),
    ],
)
def test_odd_addresses_are_refused_before_anything_is_asked(url, words):
    names = Names("93.184.216.34")
    with pytest.raises(Refused, match=words) as refusal:
        fetch_image(url, resolve=names)
    assert names.asked == []
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::10.0.0.1",
        "64:ff9b:1::1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "not an address", "",
    ],
)  # fmt: skip
def test_private_addresses_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_public_addresses_are(address):
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_this_machine_is_refused_however_it_is_written(host):
    with pytest.raises(Refused, match="private network"):
        fetch_image(f"http://{host}/", resolve=Names("::ffff:127.0.0.1" if "ffff" in host else "127.0.0.1"))


def test_one_private_address_among_public_ones_is_enough(server):
    with pytest.raises(Refused, match="private network"):
        fetch_image(f"http://{HOST}/picture", resolve=Names("93.184.216.34 10.0.0.1"))


def test_a_redirect_inside_is_refused(open_port):
    for target in (f"http://10.0.0.1:{open_port.server_port}/", f"http://[::1]:{open_port.server_port}/"):
        with pytest.raises(Refused, match="private network"):
            fetched(open_port, f"/to?{target}", allow_hosts=(), resolve=by_literal)
    with pytest.raises(Refused, match="not an http"):
        fetched(open_port, "/to?file:///etc/passwd", allow_hosts=(), resolve=by_literal)
    with pytest.raises(Refused, match="port 22"):
        fetched(open_port, "/to?http://pictures.example:22/", allow_hosts=(), resolve=by_literal)


def by_literal(host: str, port: int, **_):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if host == HOST else host, port))]


def test_a_name_that_changes_its_address_is_asked_once_and_held_to_it(open_port):
    names = Names("127.0.0.1", "10.0.0.1")
    assert fetched(open_port, "/picture", allow_hosts=(), resolve=names) == PICTURE
    assert names.asked == [HOST]


def test_a_name_that_changes_between_redirects_is_checked_again(open_port):
    with pytest.raises(Refused, match="private network"):
        fetched(open_port, "/hop/3", allow_hosts=(), resolve=Names("127.0.0.1", "10.0.0.1"))


def test_an_allowed_host_does_not_open_the_others(server):
    with pytest.raises(Refused, match="port"):
        fetched(server, f"/to?http://other.example:{server.server_port}/picture")
    with pytest.raises(Refused, match="private network"):
        fetched(server, "/to?http://other.example/picture")


def test_the_next_address_is_tried_when_one_is_dead(server):
    assert fetched(server, "/picture", resolve=Names("127.0.0.1 127.0.0.2")) == PICTURE
    assert fetched(server, "/picture", resolve=Names("127.0.0.2 127.0.0.1")) == PICTURE


def test_an_unknown_name_is_told():
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(Refused, match="not known"):
        fetch_image("https://nowhere.example/a.jpg", resolve=unknown)


def test_a_closed_port_is_told():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Refused, match="could not be reached"):
            fetch_image(f"http://127.0.0.1:{closed.getsockname()[1]}/", allow_hosts=["127.0.0.1"])


def certificate(folder, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client that trusts only this server, and the server."""
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    subprocess.run(["openssl", "req", "-x509", *curve, *names, *files], check=True, capture_output=True)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return ssl.create_default_context(cafile=folder / "cert.pem"), own


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_tls_asks_for_the_name_and_not_the_address(server, tmp_path, monkeypatch):
    trusted, own = certificate(tmp_path, HOST)
    server.socket = own.wrap_socket(server.socket, server_side=True)
    monkeypatch.setattr(fetch, "ssl_context", lambda: trusted)
    options = {"resolve": Names("127.0.0.1"), "timeout": 5, "limit_bytes": 50_000}
    url = "https://{}:" + str(server.server_port) + "/picture"
    assert fetch_image(url.format(HOST), allow_hosts=[HOST], **options) == PICTURE
    with pytest.raises(Refused, match="could not be reached"):
        fetch_image(url.format("other.example"), allow_hosts=["other.example"], **options)
