"""Doors of the site: addresses, forms, uploads, the API by its own description, results of runs, stored answers."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from hypothesis import strategies as st

from annotate.importing.cells import storable
from annotate.models import ImportRun, Post, Vote
from labeling import answers, storing
from labeling.models import VotingRun
from labeling.providers.contract import Ask, Usage
from modeling.models import Run, RunState
from modeling.training import run_folder

from . import doors, samples, word_doors, wounds
from .doors import LABELS, TRACEBACK, Door, File
from .site import Form, Forms, Known, Site, carried_out, check_response, known
from .wounds import damaged, like, odd_values, one_of, words

PEOPLE = ["admin", "admin", "admin", "lead", "reviewer", "root", "stranger"]
KEYS = [
    "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjU5IiwgMV0", "e30", "W10", "bnVsbA", "W1tbMV1dXQ",
    "WyIyMDI1LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgMWU5OTld",
]  # fmt: skip
ADDRESSED = [
    "%00", "%FF%FE", "%ED%A0%80", "-1", "9" * 30, "9" * 5000, "٣", "1e999", "..%2F..%2F", "%2e%2e", "a" * 3000,
    "%0d%0aX-Evil:1", "NaN", "[]", "'", "%25", "🚀",
]  # fmt: skip


def said(text: str) -> str:
    """As a browser can send it: half a surrogate pair goes as three bytes that are not UTF-8."""
    return quote(text.encode("utf-8", "surrogatepass"))


# --- Addresses


def asked(site: Site, told: Known) -> st.SearchStrategy[tuple[str, str]]:
    pages = site.pages()

    def of_page(page: str) -> st.SearchStrategy[str]:
        names = one_of([*(told.asked.get(page) or ["q"]), "q", "page"])
        pair = names.flatmap(
            lambda name: st.tuples(
                st.just(name), st.one_of(one_of(told.values.get(name) or ["1"]), words, one_of(KEYS))
            )
        )
        query = st.lists(pair, max_size=6).map(
            lambda pairs: "&".join(f"{said(name)}={said(value)}" for name, value in pairs)
        )
        plain = query.map(lambda text: f"{site.address(page)}?{text}")
        return st.one_of(plain, plain, plain, odd_path(site.address(page), query))

    return st.tuples(one_of(PEOPLE), one_of(pages).flatmap(of_page))


def odd_path(address: str, query: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    parts = address.split("/")
    places = [n for n, part in enumerate(parts) if part]

    def with_part(place: int, piece: str, asked: str) -> str:
        return "/".join([*parts[:place], piece, *parts[place + 1 :]]) + f"?{asked}"

    return st.builds(with_part, one_of(places or [0]), one_of(ADDRESSED) | words.map(said), query)


def get(site: Site) -> Callable[[Any], None]:
    def attempt(case: tuple[str, str]) -> None:
        person, address = case
        with site.undone():
            check_response(site.clients[person].get(address))

    return attempt


# --- Forms


def posted(told: Known) -> st.SearchStrategy[tuple[str, Form, dict[str, Any]]]:
    def of_form(form: Form) -> st.SearchStrategy[Any]:
        names = [*form.fields, *(name for name in form.offered if name not in form.fields)]
        value = {
            name: st.one_of(one_of(offers), one_of(offers), words)
            for name in names
            if (offers := form.offered.get(name) or told.values.get(name) or [""])
        }
        changed = (
            st.fixed_dictionaries({}, optional={name: st.lists(one, max_size=3) for name, one in value.items()})
            if value
            else st.just({})
        )
        files = st.fixed_dictionaries({}, optional={name: uploads() for name in form.files})
        extra = st.dictionaries(words, words, max_size=2)
        whole = st.builds(lambda changes, sent, more: {**form.fields, **more, **changes, **sent}, changed, files, extra)
        return st.tuples(one_of(PEOPLE), st.just(form), whole)

    return one_of(told.forms).flatmap(of_form)


def uploads() -> st.SearchStrategy[SimpleUploadedFile]:
    held = [file for kind in samples.files().values() for file in kind] + list(samples.pictures())
    names = one_of(
        ["posts.csv", "a.png", "result.zip", "../x.csv", "", "x" * 300 + ".json", "a\0.csv", "\u202egnp.csv"]
    )
    return st.builds(
        lambda name, data: SimpleUploadedFile(name or "x", data),
        names,
        st.one_of(one_of(held), damaged(held), st.binary(max_size=20)),
    )


def encoded(sent: dict[str, Any]) -> tuple[bytes, str]:
    """As a browser would, but for what no browser would."""
    files = {name: value for name, value in sent.items() if isinstance(value, SimpleUploadedFile)}
    pairs = [
        (name, one)
        for name, value in sent.items()
        if name not in files
        for one in (value if isinstance(value, list) else [value])
    ]
    if not files:
        return urlencode(
            [(name.encode("utf-8", "surrogatepass"), one.encode("utf-8", "surrogatepass")) for name, one in pairs]
        ).encode(), "application/x-www-form-urlencoded"
    body = io.BytesIO()
    for name, one in pairs:
        body.write(
            b'--x-y\r\nContent-Disposition: form-data; name="'
            + clean(name)
            + b'"\r\n\r\n'
            + one.encode("utf-8", "surrogatepass")
            + b"\r\n"
        )
    for name, file in files.items():
        body.write(
            b'--x-y\r\nContent-Disposition: form-data; name="'
            + clean(name)
            + b'"; filename="'
            + clean(file.name or "")
            + b'"\r\n\r\n'
        )
        body.write(file.read() + b"\r\n")
        file.seek(0)
    return body.getvalue() + b"--x-y--\r\n", "multipart/form-data; boundary=x-y"


def clean(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass").replace(b'"', b"%22").replace(b"\r", b"").replace(b"\n", b"")


def post(site: Site) -> Callable[[Any], None]:
    def attempt(case: tuple[str, Form, dict[str, Any]]) -> None:
        person, form, sent = case
        body, kind = encoded(sent)
        with site.undone(), site.unchanged_if_refused() as held:
            held.append(site.clients[person].generic("POST", form.action, body, kind))
            check_response(held[0])

    return attempt


# --- A file from its upload to its posts


def uploaded(site: Site) -> st.SearchStrategy[tuple[File, dict[str, Any]]]:
    kinds = one_of(list(samples.files())).flatmap(doors.files)
    names = one_of(doors.NAMES)
    columns = dict.fromkeys(("text", "image", "id", "label", "date", "source", "incongruous"), names)
    chosen = st.fixed_dictionaries(
        {},
        optional={
            **columns,
            "votes": st.lists(names, max_size=3),
            "topk": st.lists(names, max_size=2),
            "voter": words.map(storable),
            "holdout": st.just("on"),
        },
    )
    return st.tuples(kinds, chosen)


def upload(site: Site) -> Callable[[Any], None]:
    def attempt(case: tuple[File, dict[str, Any]]) -> None:
        file, chosen = case
        client = site.clients["admin"]
        with site.undone():
            with site.unchanged_if_refused() as held:
                sent = SimpleUploadedFile(file.name, file.data)
                held.append(client.post(reverse("import_new", args=[site.slug]), {"door": "file", "file": sent}))
                check_response(held[0])
            if held[0].status_code != 302:
                return
            run = ImportRun.objects.latest("pk")
            page = client.get(held[0]["Location"])
            check_response(page)
            read = Forms(held[0]["Location"])
            read.feed(page.content.decode())
            forms = [form for form in read.forms if form.action.endswith("/start")]
            if not forms:
                return  # the page says why it cannot be read
            with site.unchanged_if_refused() as held:
                held.append(client.post(forms[0].action, {**forms[0].fields, **chosen}))
                check_response(held[0])
            run.refresh_from_db()
            if run.state == "queued":
                carried_out(run)
                check_response(client.get(run.get_absolute_url()))

    return attempt


def lines() -> st.SearchStrategy[tuple[str, bytes]]:
    held = [
        samples.as_lines(records)
        for records in (
            samples.POSTS,
            samples.RANKED,
            samples.CELLS,
            samples.OURS,
            samples.TASKS,
            samples.CONVERSATIONS,
        )
    ]
    records = like([samples.POSTS, samples.RANKED, samples.CELLS, samples.OURS], 6).map(samples.as_lines)
    query = st.one_of(
        st.just(""),
        st.just(""),
        st.builds(
            lambda voter, holdout: f"voter={said(voter)}&holdout={said(holdout)}",
            words,
            one_of(["true", "false", "maybe"]),
        ),
    )
    return st.tuples(query, st.one_of(records, records, damaged(held), doors.tables.map(samples.as_lines)))


def stream(site: Site) -> Callable[[Any], None]:
    def attempt(case: tuple[str, bytes]) -> None:
        query, body = case
        with site.undone():
            with site.unchanged_if_refused() as held:
                address = f"/api/projects/{site.slug}/posts?{query}"
                held.append(site.clients["admin"].generic("POST", address, body, "application/x-ndjson"))
                check_response(held[0])
            if held[0].status_code == 202:
                carried_out(ImportRun.objects.get(pk=held[0].json()["id"]))

    return attempt


# --- The API by its own description


def described(site: Site) -> Any:
    import schemathesis

    from annotate.wsgi import application

    schemathesis.serializer("application/x-ndjson")(lambda _, value: json.dumps(value).encode())
    schema = schemathesis.openapi.from_dict(site.clients["root"].get("/api/openapi.json").json())
    schema.app, schema.location = application, "/api/openapi.json"
    return schema


def ids_in(site: Site, operation: Any) -> dict[str, Any]:
    """Of what is there, so that a request gets past its address."""
    named = site.world["name"]
    others = {
        "pk": site.world["pk"]["api:review"],
        "name": named["api:image" if "/images/" in operation.path else "api:dataset"],
    }
    there = others | site.world["given"]
    return {one.name: there[one.name] for one in operation.path_parameters if one.name in there}


def operations(site: Site, schema: Any) -> st.SearchStrategy[Any]:
    from schemathesis import GenerationMode

    def of(operation: Any) -> st.SearchStrategy[Any]:
        there = ids_in(site, operation)
        modes = [GenerationMode.POSITIVE, GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
        known_ids = [operation.as_strategy(generation_mode=mode, path_parameters=there) for mode in modes]
        return st.one_of([*known_ids, operation.as_strategy(generation_mode=GenerationMode.POSITIVE)])

    listed = [result.ok() for result in schema.get_all_operations()]
    return st.tuples(one_of(PEOPLE), one_of(listed).flatmap(of))


def call(site: Site) -> Callable[[Any], None]:
    from schemathesis import checks

    kept = [
        checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]

    def attempt(case: tuple[str, Any]) -> None:
        person, asked = case
        with site.undone(), site.unchanged_if_refused() as held:
            try:
                response = asked.call(headers={"Authorization": f"Bearer {site.tokens[person]}"})
                held.append(response)
                assert TRACEBACK.encode() not in response.content
                asked.validate_response(response, checks=kept)
            except BaseException as error:
                error.add_note(asked.as_curl_command()[:2000])
                raise

    return attempt


def spoken() -> st.SearchStrategy[tuple[str, bytes]]:
    told = st.one_of(like(word_doors.BODIES, 5), odd_values).map(lambda value: json.dumps(value).encode())
    return st.tuples(
        one_of(PEOPLE), st.one_of(told, told, damaged([json.dumps(body).encode() for body in word_doors.BODIES]))
    )


def speak(site: Site) -> Callable[[Any], None]:
    def attempt(case: tuple[str, bytes]) -> None:
        person, body = case
        run = Run.objects.filter(state=RunState.DONE).latest("pk")
        body = body.replace(b"memes/run-1", f"{site.slug}/run-{run.pk}".encode())
        headers = {"Authorization": f"Bearer {site.tokens[person]}"}
        with site.undone(), site.unchanged_if_refused() as held:
            held.append(
                site.clients["stranger"].generic(
                    "POST", "/v1/chat/completions", body, "application/json", headers=headers
                )
            )
            check_response(held[0])
            assert held[0]["Content-Type"].startswith(("application/json", "text/event-stream"))
            assert held[0].status_code == 200 or set(held[0].json()["error"]) == {"message", "type", "param", "code"}

    return attempt


# --- Answers of models, stored


def stored_answers() -> st.SearchStrategy[tuple[str, Any, Any]]:
    tokens = st.none() | st.integers(0, 2**31 - 1)
    return st.tuples(word_doors.answers_given(), tokens, tokens)


def store(site: Site) -> Callable[[Any], None]:
    run = VotingRun.objects.get()
    project, part = run.project, run.parts.get()
    voter = part.voter

    def attempt(case: tuple[str, Any, Any]) -> None:
        raw, tokens_in, tokens_out = case
        answer = answers.read(raw, Ask("", "", LABELS, asks_incongruous=True))
        told = answers.completed(answer, Usage(tokens_in, tokens_out), {"bullish": 0.5, "bearish": 0.5, "neutral": 0.0})
        with site.undone():
            run.claim()
            storing.store(
                run,
                [
                    storing.Batch(
                        part,
                        [
                            storing.Result(post, told, latency_ms=3)
                            for post in Post.objects.filter(project=project).values_list("pk", flat=True)
                        ],
                    )
                ],
            )
            vote = Vote.objects.filter(voter=voter).latest("pk")
            assert (vote.label.name if vote.label else None) == answer.label
            check_response(site.clients["admin"].get(reverse("post", args=[site.slug, vote.post_id])))

    return attempt


# --- The result of a run that was trained elsewhere


def results(site: Site) -> st.SearchStrategy[dict[str, Any]]:
    receipt = like([word_doors.RECEIPT], 3)
    told = [
        {"kind": "step", "step": 1, "of": 2, "loss": 1.0},
        {"kind": "evaluation", "step": 2, "macro_f1": 0.5, "accuracy": 0.5, "loss": 1},
        {"kind": "done", "step": 2},
    ]
    progress = st.one_of(
        like([told], 3).map(lambda rows: samples.as_lines(rows) + b"\n"),
        damaged([samples.as_lines(told) + b"\n"]),
    )
    names = one_of(
        [
            "adapter/a.safetensors",
            "adapter/x.json",
            "adapter/",
            "receipt.json/",
            "../x.json",
            "/x",
            "adapter/" + "x" * 300 + ".json",
            "base/a.txt",
            "adapter/a.pkl",
            "a\\b.json",
            "trained_modules.txt",
            "receipt.json",
            "adapter/é.json",
        ]
    )
    return st.fixed_dictionaries(
        {
            "receipt": receipt,
            "progress": progress,
            "more": st.dictionaries(names, st.binary(max_size=10), max_size=2),
            "keep": st.booleans(),
            "wounds": st.lists(wounds.wound, max_size=2),
            "modules": one_of([b"a\n", b"\xff", b"\0"]),
        }
    )


def result_of(case: dict[str, Any], told: Any) -> bytes:
    adapter = hashlib.sha256(b"adapter_model.safetensors" + b"weights").hexdigest()
    receipt = case["receipt"]
    if case["keep"] and isinstance(receipt, dict):
        receipt = receipt | {"trained_for": told, "adapter": adapter}
    members = {
        "receipt.json": json.dumps(receipt).encode(),
        "progress.jsonl": case["progress"],
        "trained_modules.txt": case["modules"],
        "adapter/adapter_model.safetensors": b"weights",
    } | case["more"]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return wounds.wounded(out.getvalue(), case["wounds"])


def bring(site: Site) -> Callable[[Any], None]:
    run = Run.objects.get(pk=site.world["given"]["run_id"])
    told = json.loads(json.dumps(run_folder.told_of(run)))
    address = reverse("run_result", args=[site.slug, run.pk])
    folder = run_folder.folder_of(run).parent

    def attempt(case: dict[str, Any]) -> None:
        import shutil

        client, sent = site.clients["admin"], SimpleUploadedFile("result.zip", result_of(case, told))
        with site.undone():
            before = site.state()
            check_response(client.post(address, {"result": sent}))
            is_home = Run.objects.get(pk=run.pk).state == RunState.DONE
            lying = sorted(path for path in folder.rglob("*")) if folder.exists() else []
            if is_home:
                for page in ("run", "run_progress", "run_points", "run_receipt", "runs"):
                    check_response(client.get(site.address(page)))
                check_response(client.get(f"/api/projects/{site.slug}/runs/{run.pk}"))
            else:
                assert site.state() == before, "refused, and yet written"
                assert site.stored() == site.files, "refused, and yet a file was left"
                assert not [path for path in lying if path.is_file()], lying
            shutil.rmtree(folder, ignore_errors=True)

    return attempt


@dataclass(frozen=True)
class SiteDoor:
    name: str
    cases: Callable[[Site], st.SearchStrategy[Any]]
    attempt: Callable[[Site], Callable[[Any], None]]
    share: float = 1

    def of(self, site: Site) -> Door:
        return Door(self.name, lambda: self.cases(site), self.attempt(site), self.share, quick=15)


SITE = [
    SiteDoor("addresses of pages", lambda site: asked(site, known(site)), get, 4),
    SiteDoor("forms of pages", lambda site: posted(known(site)), post, 4),
    SiteDoor("uploads, to their posts", uploaded, upload, 3),
    SiteDoor("posts over the API", lambda _: lines(), stream, 2),
    SiteDoor("the API by its description", lambda site: operations(site, described(site)), call, 4),
    SiteDoor("/v1, as OpenAI's clients speak", lambda _: spoken(), speak),
    SiteDoor("answers of models, stored", lambda _: stored_answers(), store),
    SiteDoor("results of runs", results, bring),
]
