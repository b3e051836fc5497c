"""What the rest of the program knows about a provider, as data."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .contract import Connection, Stop

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    kind: type
    default: Any  # None leaves it to the model
    meaning: str
    choices: tuple[str, ...] = ()
    least: float | None = None

    def problem_with(self, name: str, value: Any) -> str:
        if value == self.default:
            return ""
        if not fits(self.kind, value):
            return f"The parameter {name} must be {KINDS[self.kind]}, not {value!r}."
        if self.choices and value not in self.choices:
            return f"The parameter {name} must be one of {', '.join(map(repr, self.choices))}, not {value!r}."
        if self.least is not None and value < self.least:
            return f"The parameter {name} must be at least {self.least:g}, not {value!r}."
        return ""


KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "a JSON object"}


def fits(kind: type, value: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


@dataclass(frozen=True, slots=True)
class Provider:
    name: str
    title: str
    vision: bool
    open: Callable[[str, Parameters], Connection]
    parameters: dict[str, Parameter]
    keys: tuple[str, ...] = ()  # environment variables, any of which may hold the key
    models: tuple[str, ...] = ()  # where these are all there are
    priced_as: str = ""  # this provider in the table of prices; without one it costs nothing
    batch_factor: Decimal | None = None  # what a batch job costs beside asking one by one

    def connect(self, model: str, parameters: Parameters) -> Connection:
        if sentence := self.problem_with(model, parameters) or self.missing(parameters):
            raise Stop(sentence)
        return self.open(model, self.filled(parameters))

    def filled(self, parameters: Parameters) -> dict[str, Any]:
        return {name: parameters.get(name, known.default) for name, known in self.parameters.items()}

    def missing(self, parameters: Parameters) -> str:
        """A sentence when the key is not there, before anything starts."""
        if not self.keys or parameters.get("base_url") or any(os.environ.get(name) for name in self.keys):
            return ""
        return f"{self.title} needs a key: set {' or '.join(self.keys)} in the environment or in .env, then restart."

    def problem_with(self, model: str, parameters: Parameters) -> str:
        """A sentence about the first thing that could not work, or nothing."""
        if not model:
            return f"Say which model of {self.title} to ask."
        if self.models and model not in self.models:
            return f"{self.title} has no model {model!r}; there are {', '.join(self.models)}."
        if unknown := sorted(set(parameters) - set(self.parameters)):
            return f"{self.title} knows no parameter {unknown[0]!r}; there are {', '.join(self.parameters) or 'none'}."
        if not str(parameters.get("base_url") or "http://").startswith(("http://", "https://")):
            return "The parameter base_url must begin with http:// or https://."
        problems = (self.parameters[name].problem_with(name, value) for name, value in parameters.items())
        return next((problem for problem in problems if problem), "")


# What all paid providers understand.
SHARED = {
    "max_output_tokens": Parameter(int, 500, "The longest answer, thoughts included, that is paid for.", least=16),
    "temperature": Parameter(float, None, "How much chance plays a part; some models refuse to be told.", least=0),
    "logprobs": Parameter(int, 0, "Alternatives asked for each token, to tell probabilities; some refuse.", least=0),
    "blind": Parameter(bool, False, "Send the words alone, never the picture."),
    "examples": Parameter(int, 0, "Show so many of the nearest posts that people have labelled.", least=0),
    "templates": Parameter(bool, False, "Tell how people labelled other posts with a copy of the picture."),
    "timeout": Parameter(float, 60.0, "Seconds to wait for an answer.", least=0.01),
    "price_in": Parameter(float, None, "US dollars a million input tokens, where the table does not know.", least=0),
    "price_out": Parameter(float, None, "US dollars a million output tokens.", least=0),
}
