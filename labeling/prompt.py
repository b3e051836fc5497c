"""Pure: a project's facts and a post -> the request that every provider is sent, word for word."""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from string import Template

from annotate.harmless import harmless

from . import answers
from .providers.contract import Ask

FOLDER = Path(__file__).parent / "prompts"
DEFAULT = (FOLDER / "default.txt").read_text(encoding="utf-8")
SYSTEM = (FOLDER / "system.txt").read_text(encoding="utf-8")
THE_POST = "[the post]"
TRAINED = "trained"
HOLES = ("question", "labels", "guidelines", "examples", "templates", "post")


@dataclass(frozen=True)
class Prompt:
    """All of an ask that stays the same from post to post. A ValueError says what is wrong with `template`."""

    template: str
    question: str
    labels: tuple[tuple[str, str], ...]  # name and meaning
    guidelines: str = ""
    asks_incongruous: bool = False
    examples: tuple[tuple[str, str], ...] = ()  # words and label
    words: str = ""  # "trained": as a model was trained, the post by itself; "trained in one turn": below the question

    def __post_init__(self) -> None:
        if problem := problem_with(self.template):
            raise ValueError(problem)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.labels)

    @cached_property
    def system(self) -> str:
        if self.words:
            return self.as_trained if self.words == TRAINED else ""
        return Template(SYSTEM).substitute(answer=answers.told_to_models(self.names, self.asks_incongruous)).strip()

    @cached_property
    def as_trained(self) -> str:
        """All that stands before the post: a model that was trained knows no other frame, and no form but a label."""
        return replace(self, template=(self.template or DEFAULT).partition("$post")[0] + "$post").filled("", "")

    @cached_property
    def wording(self) -> str:
        """All that a voter reads beside the post; examples and templates are lent anew for each post."""
        if self.words:
            return f"{self.as_trained}\n\n{THE_POST}, {self.words}"
        schema = json.dumps(answers.schema(self.names, self.asks_incongruous), indent=2, ensure_ascii=False)
        return "\n\n".join([self.system, replace(self, examples=()).filled(THE_POST, ""), schema])

    @cached_property
    def hash(self) -> str:
        return hashlib.sha256(self.wording.encode("utf-8", "surrogatepass")).hexdigest()

    def ask(self, text: str, image: bytes | None = None, image_format: str = "", looks_like: str = "") -> Ask:
        """`looks_like` is what is known of the template of which the picture is a near-duplicate."""
        if self.words:
            return self.ask_as_trained(harmless(text), image, image_format)
        return Ask(
            system=self.system,
            prompt=self.filled(post_told(text, image is not None), looks_like if image is not None else ""),
            labels=self.names,
            image=image,
            image_format=image_format or "jpeg",
            asks_incongruous=self.asks_incongruous,
        )

    def ask_as_trained(self, text: str, image: bytes | None, image_format: str) -> Ask:
        prompt = text if self.system else "\n\n".join(filter(None, [self.as_trained, text]))
        return Ask(
            system=self.system, prompt=prompt, labels=self.names, image=image, image_format=image_format or "jpeg",
            bare=True,
        )  # fmt: skip

    def filled(self, post: str, looks_like: str) -> str:
        told = {
            "question": self.question,
            "labels": labels_told(self.labels),
            "guidelines": headed("How to decide:", self.guidelines.strip()),
            "examples": headed("Posts that people have labelled:", "\n\n".join(map(example_told, self.examples))),
            "templates": headed("Its picture is a copy of one that is known:", looks_like),
            "post": post,
        }
        return Template(without_empty(self.template or DEFAULT, told)).substitute(told).strip()


def problem_with(template: str) -> str:
    """A sentence for whoever wrote it, or nothing. No template at all stands for the default."""
    if not template.strip():
        return ""
    if not Template(template).is_valid():
        return "The prompt has a $ that begins no hole; write $$ where a dollar sign is meant."
    holes = Template(template).get_identifiers()
    if unknown := sorted(set(holes) - set(HOLES)):
        return (
            f"Nothing fills the hole ${unknown[0]} in the prompt; there are {', '.join('$' + hole for hole in HOLES)}."
        )
    if "post" not in holes:
        return "The prompt never shows the post; write $post where it belongs."
    return ""


def without_empty(template: str, told: dict[str, str]) -> str:
    """A line that is only a hole goes where nothing fills it; this looks at the template alone, never at a post."""
    kept = [line for line in template.splitlines() if told.get(line.strip().strip("${}"), "kept")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept))


def headed(heading: str, body: str) -> str:
    return f"{heading}\n{body}" if body else ""


def labels_told(labels: tuple[tuple[str, str], ...]) -> str:
    return "\n".join(label_begins(name) + " ".join(meaning.split()) for name, meaning in labels)


def label_begins(name: str) -> str:
    return f"- {answers.quoted(name)}: "


def meaning_in(prompt: str, name: str) -> str:
    """What `labels_told` wrote of a label, for voters that have nothing but the prompt to go by."""
    begins = label_begins(name)
    return next((line.removeprefix(begins) for line in prompt.splitlines() if line.startswith(begins)), "")


def example_told(example: tuple[str, str]) -> str:
    text, label = example
    return f"{fenced('example', text)}\nlabel: {answers.quoted(label)}"


def post_told(text: str, has_image: bool) -> str:
    words = f"The words of the post:\n{fenced('post', text)}" if text.strip() else "The post has no words."
    picture = "Its picture is attached." if has_image else "No picture is attached."
    return f"{words}\n{picture}"


def fenced(kind: str, text: str) -> str:
    """Between two lines with a mark that depends on the text, so that no text can hold the line that would end it."""
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    while mark in text:
        mark = hashlib.sha256(mark.encode()).hexdigest()[:16]
    return f"<<< {kind} {mark}\n{text}\n>>> {kind} {mark}"


FENCED_POST = re.compile(r"^<<< post ([0-9a-f]{16})\n(.*?)\n>>> post \1$", re.DOTALL | re.MULTILINE)


def text_in(prompt: str) -> str:
    """The post's own words back out of a prompt."""
    found = FENCED_POST.search(prompt)
    return found[2] if found else ""
