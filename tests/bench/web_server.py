"""Which server, how many workers and threads: Granian and gunicorn over the same pages, the same eight readers.

Eight clients with keep-alive ask for the first page of posts, as reviewers would; the servers' own CPU is counted.
"""

import sys
import threading
import time

import httpx
import psutil

from tests.bench import ground

CLIENTS = 8
SECONDS = 8
SHAPES = [("granian", 1, 8), ("granian", 2, 2), ("granian", 2, 4), ("gunicorn", 1, 8), ("gunicorn", 2, 4)]


def command(server: str, workers: int, threads: int, port: int) -> list[str]:
    if server == "granian":
        from annotate.operating.processes import web_server

        return web_server("127.0.0.1", port, workers, threads)
    return [
        sys.executable, "-m", "gunicorn", "annotate.wsgi:application", "--bind", f"127.0.0.1:{port}",
        "--worker-class", "gthread", "--workers", str(workers), "--threads", str(threads), "--log-level", "warning",
    ]  # fmt: skip


def ask(address: str, cookies: dict[str, str], url: str, until: float, times: list[float]) -> None:
    with httpx.Client(base_url=address, cookies=cookies, timeout=30) as client:
        while time.perf_counter() < until:
            times.append(ground.seconds(lambda: client.get(url).raise_for_status()))


def measure(address: str, cookies: dict[str, str], url: str) -> list[float]:
    times: list[float] = []
    until = time.perf_counter() + SECONDS
    threads = [threading.Thread(target=ask, args=(address, cookies, url, until, times)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def cpu_of_servers(port: int) -> float:
    """Of every process that has this port on its command line, and of their children."""
    mine = [p for p in psutil.process_iter(["cmdline"]) if any(str(port) in part for part in p.info["cmdline"] or [])]
    family = {p.pid: p for parent in mine for p in [parent, *parent.children(recursive=True)]}
    family.pop(psutil.Process().pid, None)
    return sum(p.cpu_times().user + p.cpu_times().system for p in family.values())


def main() -> None:
    ground.django_on_fresh_database("server")
    from tests.make import make_member, make_post, make_project

    project = make_project()
    for n in range(200):
        make_post(project, f"post {n} to the moon", "bullish")
    cookies = ground.session_cookie(make_member(project))
    for url in (f"/p/{project.slug}/posts", "/login"):
        print(url)
        for number, (server, workers, threads) in enumerate(SHAPES):
            port = 8770 + number
            with ground.server(command=command(server, workers, threads, port), port=port) as address:
                measured = cookies if url != "/login" else {}
                measure_warm_up(address, measured, url)
                before = cpu_of_servers(port)
                times = measure(address, measured, url)
                cpu = cpu_of_servers(port) - before
            print(
                f"  {server:9} {workers} x {threads}: {len(times) / SECONDS:6.0f} a second, "
                f"{1000 * cpu / len(times):5.2f} ms CPU each, {ground.milliseconds(times)}"
            )


def measure_warm_up(address: str, cookies: dict[str, str], url: str) -> None:
    with httpx.Client(base_url=address, cookies=cookies) as client:
        for _ in range(30):
            client.get(url)


if __name__ == "__main__":
    main()
