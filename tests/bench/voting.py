"""A voting run beside the bare clients' loops: the same local server at 50 ms, 64 in flight, pictures of about 30 KB.

What a run does beside asking: prompts, pictures from disk, parsing, storing votes and settling posts in PostgreSQL.
"""

import asyncio
import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable

from tests.bench import ground

POSTS = 1500
FLYING = 64
PORT = 8790


def picture(n: int) -> bytes:
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(n).normal(128, 20, (480, 480, 3)).clip(0, 255).astype("uint8")
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "JPEG", quality=45)
    return out.getvalue()


def make_posts(project, count: int, image=None) -> None:  # type: ignore[no-untyped-def]
    from annotate.models import Post
    from tests.make import EPOCH

    rows = (
        Post(project=project, external_id=f"p{n}", text=f"post #{n}# to the moon", at=EPOCH, image=image,
             content_hash=f"{n:064x}")
        for n in range(count)
    )  # fmt: skip
    Post.objects.bulk_create(rows, batch_size=5000)


def kept_picture():  # type: ignore[no-untyped-def]
    from annotate.importing.load import keep_picture
    from annotate.models import Image

    if known := Image.objects.first():
        return known
    image = keep_picture(picture(1))
    assert not isinstance(image, str), image
    image.save()
    return image


def make_voter(project, provider: str):  # type: ignore[no-untyped-def]
    from annotate.models import Voter
    from labeling.prompt import DEFAULT

    server = {"base_url": f"http://127.0.0.1:{PORT}/v1"} if provider == "openai" else {}
    return Voter.objects.create(
        project=project, name=provider, provider=provider, model="m", fingerprint=provider, prompt=DEFAULT,
        parameters=server | {"price_in": 0.1, "price_out": 0.4}, limits={"concurrency": FLYING},
    )  # fmt: skip


def run_ours(project, voter) -> None:  # type: ignore[no-untyped-def]
    from labeling import runs, voting

    run = runs.start(project, None, [voter], queue=False)
    assert voting.carry_out(run)
    assert run.parts.get().done == run.parts.get().total, run.error


async def bare_openai(asks: list) -> None:  # type: ignore[type-arg]
    import openai

    from labeling.providers import PROVIDERS
    from labeling.providers.openai_chat import request

    client = openai.AsyncOpenAI(api_key="x", base_url=f"http://127.0.0.1:{PORT}/v1", max_retries=0)
    parameters = PROVIDERS["openai"].filled({"base_url": "http://x"})

    async def one(ask) -> None:  # type: ignore[no-untyped-def]
        async with slots:
            answer = await client.chat.completions.create(**request("m", parameters, ask))
            json.loads(answer.choices[0].message.content or "")

    slots = asyncio.Semaphore(FLYING)
    await asyncio.gather(*(one(ask) for ask in asks))
    await client.close()


async def bare_gemini(asks: list) -> None:  # type: ignore[type-arg]
    from google import genai
    from google.genai import types

    options = types.HttpOptions(base_url=f"http://127.0.0.1:{PORT}", api_version="v1beta")
    client = genai.Client(api_key="x", http_options=options)

    async def one(ask) -> None:  # type: ignore[no-untyped-def]
        async with slots:
            parts = [types.Part(text=ask.prompt), types.Part.from_bytes(data=ask.image, mime_type="image/jpeg")]
            config = types.GenerateContentConfig(
                system_instruction=ask.system, response_mime_type="application/json", max_output_tokens=500
            )
            answer = await client.aio.models.generate_content(model="m", contents=parts, config=config)
            json.loads(answer.text or "")

    slots = asyncio.Semaphore(FLYING)
    await asyncio.gather(*(one(ask) for ask in asks))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds and CPU seconds of this process; the database and the server have their own."""
    before = os.times()
    wall = ground.seconds(work)
    after = os.times()
    return wall, after.user + after.system - before.user - before.system


def compare(provider: str, bare: Callable[..., object]) -> None:
    from labeling.asking import Questions
    from labeling.models import Part, VotingRun
    from tests.make import make_project

    project = make_project()
    make_posts(project, POSTS, kept_picture())
    voter = make_voter(project, provider)
    run = VotingRun.objects.create(project=project)
    part = Part.objects.create(run=run, voter=voter)
    questions, asks = Questions(run, part), []
    while page := questions.next_page():
        asks += [pending.ask for pending in page]
    run.delete()
    bare_wall, bare_cpu = timed(lambda: asyncio.run(bare(asks)))  # type: ignore[arg-type]
    wall, cpu = timed(lambda: run_ours(project, voter))
    print(
        f"{provider:7} bare client {POSTS / bare_wall:4.0f} a second, {1000 * bare_cpu / POSTS:.2f} ms CPU each; "
        f"ours {POSTS / wall:4.0f} a second, {1000 * cpu / POSTS:.2f} ms CPU each; "
        f"ratio {bare_wall / wall:.2f} of its speed, {cpu / bare_cpu:.2f} of its CPU"
    )


def memory(count: int) -> None:
    """In a process of its own: the peak of a run over `count` posts."""
    ground.django_on_fresh_database("memory")
    from tests.make import make_project

    project = make_project()
    make_posts(project, count, kept_picture())
    voter = make_voter(project, "openai")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    run_ours(project, voter)
    print(f"{count:7,} posts: peak memory {before:.0f} MB before, {ground.peak_megabytes():.0f} MB after")


def main() -> None:
    if len(sys.argv) > 1:
        memory(int(sys.argv[1]))
        return
    os.environ |= {"GOOGLE_GEMINI_BASE_URL": f"http://127.0.0.1:{PORT}", "GEMINI_API_KEY": "none"}
    server = subprocess.Popen([sys.executable, "-m", "tests.model_server", str(PORT), "0.05"], cwd=ground.ROOT)
    try:
        ground.wait_until_open(PORT)
        for count in (1_000, 10_000, 100_000):
            subprocess.run([sys.executable, "-m", "tests.bench.voting", str(count)], check=True)
        ground.django_on_fresh_database("voting")
        for provider, bare in (("openai", bare_openai), ("gemini", bare_gemini)):
            compare(provider, bare)
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
