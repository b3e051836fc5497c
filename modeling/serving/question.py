"""Pure: a post in exactly the words that a model was trained on, as a server of chat completions takes it.

What training did by the model's own processor is done here by what was told when it was written out: whether there is
a system turn, which signs mean something to it, and what its template has to be told.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

BREAK = "\u2060"  # as modeling/gpu/encoders.py breaks signs
TOP = 20  # of the log-probabilities of each token: as many as servers give
SPARE = 4  # tokens beyond the longest label: its end, and a space before it


@dataclass(frozen=True)
class Words:
    system: str
    takes_system: bool = True
    signs: Sequence[str] = ()
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    answer_tokens: int = 16

    @classmethod
    def of(cls, system: str, told: Mapping[str, Any]) -> Self:
        known = ("takes_system", "signs", "template_kwargs", "answer_tokens")
        return cls(system, **{name: told[name] for name in known if name in told})

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self.signs)) or r"(?!)")

    def broken(self, words: str) -> str:
        """Nobody's post places a picture or ends a turn."""
        return self.pattern.sub(lambda sign: sign[0][0] + BREAK + sign[0][1:], words)

    def messages(self, text: str, picture: str = "") -> list[dict[str, Any]]:
        """`picture` is an address, which may hold the picture itself."""
        system, user = self.broken(self.system), self.broken(text)
        if not self.takes_system:
            system, user = "", "\n\n".join(filter(None, [system, user]))
        shown = [{"type": "image_url", "image_url": {"url": picture}}] if picture else []
        said = {"role": "user", "content": [*shown, {"type": "text", "text": user}]}
        return [{"role": "system", "content": [{"type": "text", "text": system}]}, said] if system else [said]

    def request(self, model: str, text: str, picture: str = "", top: int = TOP) -> dict[str, Any]:
        """As `chat.completions.create` takes it."""
        asked: dict[str, Any] = {
            "model": model, "messages": self.messages(text, picture), "temperature": 0,
            "max_tokens": self.answer_tokens + SPARE,
        }  # fmt: skip
        if top:
            asked |= {"logprobs": True, "top_logprobs": top}
        if self.template_kwargs:
            asked["extra_body"] = {"chat_template_kwargs": dict(self.template_kwargs)}
        return asked
