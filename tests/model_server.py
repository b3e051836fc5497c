"""A language model's server for benchmarks and faults: both APIs, a fixed delay, and a log of what it was asked.

    python -m tests.model_server PORT DELAY_SECONDS [LOG]
    python -m tests.model_server PORT --holding FOLDER [--name NAME]

It does as little as a server can, so that what is measured is the client. What llmock can do is tested with llmock.
Held by a folder, it answers with the model that lies there: loaded by transformers, asked by its own chat template, and
with the log-probabilities of its tokens, as vLLM tells them.
"""

import asyncio
import base64
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

ANSWER = json.dumps(
    {
        "text_reading": "bullish", "image_reading": "none", "reason": "to the moon",
        "label": "bullish", "confidence": 0.9,
    }
)  # fmt: skip
CHAT = json.dumps(
    {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER, "refusal": None}}
        ],
        "usage": {"prompt_tokens": 900, "completion_tokens": 40, "total_tokens": 940},
    }
)  # fmt: skip
GEMINI = json.dumps(
    {
        "candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts": [{"text": ANSWER}]}}],
        "usageMetadata": {"promptTokenCount": 900, "candidatesTokenCount": 40, "totalTokenCount": 940},
    }
)  # fmt: skip
MARK = re.compile(rb"#(\d+)#")  # posts under test carry their number in their words


def reply(body: str, status: str = "200 OK") -> bytes:
    data = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, log: TextIO | None) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1])) if length else b""
            if log and (mark := MARK.search(body)):
                log.write(mark[1].decode() + "\n")
            await asyncio.sleep(delay)
            writer.write(reply(GEMINI if b"generateContent" in head else CHAT))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


# --- One that holds a model


class Held:
    def __init__(self, folder: Path, name: str) -> None:
        from modeling.gpu import cpu_build

        cpu_build.prepare()
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        from modeling.gpu.load import in_one_kind

        torch.set_num_threads(1)
        self.torch, self.name = torch, name
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        in_one_kind(self.model, torch.float32)

    def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": self.name, "object": "model", "created": 1, "owned_by": "tests"}]}

    def complete(self, asked: dict[str, Any]) -> dict[str, Any]:
        pictures: list[Any] = []
        turns = [{"role": m["role"], "content": [self.part(one, pictures) for one in in_parts(m["content"])]}
                 for m in asked["messages"]]  # fmt: skip
        told = self.processor.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=False, **asked.get("chat_template_kwargs", {})
        )
        inputs = self.processor(text=[told], return_tensors="pt", **({"images": [pictures]} if pictures else {}))
        made = self.model.generate(
            **inputs, max_new_tokens=asked["max_tokens"], do_sample=False, output_logits=True,
            return_dict_in_generate=True,
        )  # fmt: skip
        ids = made.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        content = self.processor.tokenizer.decode(ids, skip_special_tokens=True)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop",
                                  "message": {"role": "assistant", "content": content}}  # fmt: skip
        if asked.get("logprobs"):
            rows = [logits[0].float().log_softmax(-1) for logits in made.logits]
            choice["logprobs"] = {"content": [self.token(*one, asked["top_logprobs"])
                                              for one in zip(ids, rows, strict=True)]}  # fmt: skip
        return {"id": "x", "object": "chat.completion", "created": 1, "model": self.name, "choices": [choice]}

    def part(self, part: dict[str, Any], pictures: list[Any]) -> dict[str, str]:
        from PIL import Image

        if part["type"] == "text":
            return {"type": "text", "text": part["text"]}
        data = base64.b64decode(part["image_url"]["url"].partition("base64,")[2])
        pictures.append(Image.open(io.BytesIO(data)).convert("RGB"))
        return {"type": "image"}

    def token(self, chosen: int, row: Any, top: int) -> dict[str, Any]:
        best = row.topk(top)
        others = [self.told(int(n), float(p)) for n, p in zip(best.indices, best.values, strict=True)]
        return self.told(chosen, float(row[chosen])) | {"top_logprobs": others}

    def told(self, number: int, chance: float) -> dict[str, Any]:
        text = self.processor.tokenizer.decode([number])
        return {"token": text, "logprob": chance, "bytes": list(text.encode())}


def in_parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


async def answer_held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, held: Held) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1])) if length else b""
            asked = json.loads(body) if body else {}
            if head.startswith(b"GET"):
                told, status = held.models(), "200 OK"
            elif asked["model"] != held.name:
                told, status = {"error": {"message": f"The model {asked['model']} does not exist."}}, "404 Not Found"
            else:
                told, status = held.complete(asked), "200 OK"
            writer.write(reply(json.dumps(told), status))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def hold(port: int, folder: Path, name: str) -> None:
    held = Held(folder, name)
    await listen(port, lambda r, w: answer_held(r, w, held))


async def listen(port: int, answer: Callable[..., Any]) -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", port, limit=2**24)
    async with server:
        print("listening", flush=True)
        await server.serve_forever()


async def main() -> None:
    if sys.argv[2] == "--holding":
        await hold(int(sys.argv[1]), Path(sys.argv[3]), sys.argv[5] if len(sys.argv) > 5 else "m")
        return
    port, delay = int(sys.argv[1]), float(sys.argv[2])
    log = open(sys.argv[3], "a", buffering=1) if len(sys.argv) > 3 else None  # noqa: SIM115
    await listen(port, lambda r, w: serve(r, w, delay, log))


if __name__ == "__main__":
    asyncio.run(main())
