"""Pure: how a model that was written out is served and asked, as commands to copy; and the README that lies with it.

The flags are vLLM's as its documentation and sources had them when this was written (up to 0.27); it was not run here.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from .question import Words

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM lets one ask for
PORT = 8000
A_TOKEN = 28 * 28  # pixels of Qwen's; the others take fewer
TALK = 3072  # tokens for question, labels, post and answer
STEP = 1024
QUESTION = "Words of a post"
PICTURE = "data:image/png;base64,..."
FORMS = {
    "merged": "The whole model in 16 bits: what the run learnt is in the weights.",
    "8bit": "The whole model, what the run learnt in the weights, and these rounded to 8 bits by bitsandbytes.",
    "4bit": "The whole model, what the run learnt in the weights, and these rounded to 4 bits (NF4) by bitsandbytes.",
    "lora": "What the run learnt, as an adapter for its base model, which a server loads beside it.",
}
NOT_RUN = (
    "These commands follow vLLM’s documentation. vLLM was not run when they were written: check what is served before "
    "you rely on it."
)
REPLICAS = (
    "One server answers many at a time. Where one machine is too slow, start the same command on several and put one "
    "address before them: vLLM’s replicas behind one address are the engine for more than one machine."
)


@dataclass(frozen=True)
class Written:
    """What was written out, and where it lies."""

    form: str
    run: int
    folder: str
    base: str
    revision: str
    rank: int
    method: str
    told: Mapping[str, Any]  # by the process that wrote it
    words: Words

    @property
    def name(self) -> str:
        return f"run-{self.run}"

    @property
    def length(self) -> int:
        """Tokens that a question may take: the largest picture, and words."""
        wanted: int = ceil((self.told["max_pixels"] / A_TOKEN + TALK) / STEP) * STEP
        return min(wanted, int(self.told["context"] or wanted))


def rank_for(rank: int) -> int:
    return next((one for one in RANKS if one >= rank), RANKS[-1])


def serve(written: Written) -> str:
    """By vLLM; blank where it has no way to be asked in the words of its training."""
    if not written.told["by_chat"]:
        return ""
    lines = lora(written) if written.form == "lora" else whole(written)
    lines += ["--limit-mm-per-prompt '{\"image\": 1}'", f"--max-model-len {written.length}",
              "--chat-template-content-format openai"]  # fmt: skip
    return " \\\n  ".join(lines)


def whole(written: Written) -> list[str]:
    bits = ["--quantization bitsandbytes", "--load-format bitsandbytes"] if written.form in ("8bit", "4bit") else []
    return [f"vllm serve {shlex.quote(written.folder)}", f"--served-model-name {written.name}", "--dtype bfloat16",
            *bits]  # fmt: skip


def lora(written: Written) -> list[str]:
    """The processor is the base's then, so the pictures' size has to be told."""
    base = f"{written.folder}/base" if written.told.get("base_comes_along") else written.base
    pixels = written.told["pixels"]
    return [
        f"vllm serve {shlex.quote(base)}",
        *([f"--revision {shlex.quote(written.revision)}"] if written.revision else []),
        "--enable-lora", f"--lora-modules {shlex.quote(f'{written.name}={written.folder}')}",
        f"--max-lora-rank {rank_for(written.rank)}", "--dtype bfloat16",
        *([f"--mm-processor-kwargs '{json.dumps(pixels)}'"] if pixels else []),
    ]  # fmt: skip


def curl(written: Written) -> str:
    asked = written.words.request(written.name, QUESTION, PICTURE)
    asked |= asked.pop("extra_body", {})
    body = json.dumps(asked, ensure_ascii=False, indent=1)
    return (f"curl http://localhost:{PORT}/v1/chat/completions -H 'Content-Type: application/json' -d @- <<'EOF'\n"
            f"{body}\nEOF")  # fmt: skip


def python(written: Written) -> str:
    asked = written.words.request(written.name, QUESTION, PICTURE)
    messages = json.dumps(asked["messages"], ensure_ascii=False, indent=4)
    extra = f", extra_body={asked['extra_body']!r}" if "extra_body" in asked else ""
    return f"""import base64
from pathlib import Path

from openai import OpenAI

client = OpenAI(base_url="http://localhost:{PORT}/v1", api_key="none")
picture = base64.b64encode(Path("post.png").read_bytes()).decode()
messages = {messages.replace(json.dumps(PICTURE), 'f"data:image/png;base64,{picture}"')}
answer = client.chat.completions.create(
    model="{written.name}", messages=messages, temperature=0, max_tokens={asked["max_tokens"]},
    logprobs=True, top_logprobs={asked["top_logprobs"]}{extra},
)
print(answer.choices[0].message.content)
"""


def transformers(written: Written) -> str:
    loader = written.told.get("loader", "AutoModelForImageTextToText")
    if written.form == "lora":
        base = f"{written.folder}/base" if written.told.get("base_comes_along") else written.base
        return f"""from peft import PeftModel
from transformers import AutoProcessor, {loader}

model = {loader}.from_pretrained({base!r}, dtype="auto", device_map="auto")
model = PeftModel.from_pretrained(model, {written.folder!r})
processor = AutoProcessor.from_pretrained({written.folder!r})
"""
    return f"""from transformers import AutoProcessor, {loader}

model = {loader}.from_pretrained({written.folder!r}, dtype="auto", device_map="auto")
processor = AutoProcessor.from_pretrained({written.folder!r})
"""


def notes(written: Written) -> list[str]:
    """What to know before it is started; a sentence each."""
    told = []
    if not written.told["by_chat"]:
        told.append(f"{written.told['title']} has no chat template, and vLLM asks by one: load it by transformers.")
    if written.form in ("8bit", "4bit"):
        told.append("bitsandbytes has to be installed beside vLLM. Weights that were rounded beforehand are not cut up "
                    "among cards (--tensor-parallel-size): start one server a card instead.")  # fmt: skip
    if written.form == "lora" and written.method == "qlora":
        told.append("It learnt beside a base rounded to 4 bits, and is served beside one of 16: check how much that "
                    "changes. Merged, it answers as it was trained.")  # fmt: skip
    if written.form == "lora" and written.rank > RANKS[-1]:
        told.append(f"vLLM loads adapters up to rank {RANKS[-1]}, and this one has {written.rank}: serve it merged.")
    if written.form == "lora" and not written.told["pixels"]:
        told.append("The base’s processor may show larger pictures than training did; merged, the limit comes along.")
    return told


def readme(written: Written, template: str, checked: str) -> str:
    parts = [
        f"# {written.name}, {written.form}", FORMS[written.form],
        f"Base model: {written.base}{f' at {written.revision}' if written.revision else ''}. "
        f"Weights: {written.told['weights']}.",
        *notes(written),
    ]  # fmt: skip
    if command := serve(written):
        parts += ["## Serve it", fenced("sh", command), NOT_RUN, REPLICAS,
                  "## Ask it", "In these words and no others: they are those that it was trained on.",
                  fenced("sh", curl(written)), fenced("python", python(written)),
                  "Signs in a post that mean something to the model, such as those that end a turn, were broken in "
                  "training by U+2060 after their first letter. Whoever asks should do the same."]  # fmt: skip
    parts += ["## Load it", fenced("python", transformers(written)), "## Check it", checked]
    if template:
        parts += ["## Its chat template", fenced("jinja", template)]
    return "\n\n".join(parts) + "\n"


def fenced(language: str, text: str) -> str:
    marks = "````" if "```" in text else "```"
    return f"{marks}{language}\n{text.rstrip()}\n{marks}"
