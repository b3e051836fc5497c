"""How likely each label is as the answer: one pass over the prompt, then one over all labels together."""

import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutput

from .batches import IGNORED
from .encoders import Encoder, Post

Answers = Sequence[Sequence[int]]  # the tokens of each label, its ending among them
ROWS = 64  # at once, each with a copy of its prompt's cache


@torch.no_grad()  # type: ignore[untyped-decorator]
def score(model: Any, encoder: Encoder, posts: Sequence[Post], answers: Answers) -> torch.Tensor:
    """A row a post and a column a label: the log-probability of the whole answer. The prompt is read once."""
    prompts = {name: value.to(model.device) for name, value in encoder.prompts(posts).items()}
    if encoder.apart:
        return of_a_decoder(model, prompts, answers)
    forget_positions(model)
    told = padded(answers, model.device)
    first = model(**prompts, use_cache=True, **keeping(model, 1))
    scores = first.logits[:, -1].float().log_softmax(-1)[:, told[:, 0]]
    if told.shape[1] > 1:
        scores = scores + of_the_rest(model, first.past_key_values, prompts["attention_mask"], told)
    return scores


def of_the_rest(model: Any, cache: Any, mask: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    starts = positions(model, mask)
    parts = list(told.split(max(1, ROWS // len(mask))))
    columns = []
    for part in parts:
        own = cache if part is parts[-1] else copy.deepcopy(cache)
        columns.append(of_some(model, own, mask, part, starts))
    return torch.cat(columns, 1)


def of_some(
    model: Any, cache: Any, mask: torch.Tensor, told: torch.Tensor, starts: torch.Tensor | None
) -> torch.Tensor:
    posts, (labels, length) = len(mask), told.shape
    cache.reorder_cache(torch.arange(posts, device=mask.device).repeat_interleave(labels))  # every kind of cache can
    tokens = told[:, :-1].clamp(min=0).repeat(posts, 1)
    seen = torch.cat([mask.repeat_interleave(labels, 0), mask.new_ones(posts * labels, length - 1)], 1)
    where = {}
    if starts is not None:
        ahead = (starts + torch.arange(length - 1, device=mask.device)).repeat_interleave(labels, 0)
        where["position_ids"] = ahead[None].expand(3, -1, -1)
    logits = model(input_ids=tokens, attention_mask=seen, past_key_values=cache, use_cache=True, **where).logits
    wanted = told[:, 1:].repeat(posts, 1)
    return summed(logits, wanted).view(posts, labels)


def positions(model: Any, mask: torch.Tensor) -> torch.Tensor | None:
    """Qwen's models place a picture's tokens on a grid, and count on from there; the others count tokens."""
    deltas = getattr(getattr(bare(model), "model", None), "rope_deltas", None)
    return None if deltas is None else mask.sum(1, keepdim=True) + deltas.view(-1, 1).to(mask.device)


def forget_positions(model: Any) -> None:
    """Of the batch before: where this one has no picture, they would be taken for its own."""
    inner: Any = getattr(bare(model), "model", None)
    if hasattr(inner, "rope_deltas"):
        inner.rope_deltas = None


def bare(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def keeping(model: Any, last: int) -> dict[str, int]:
    """Only the last logits, where a model can leave out the others."""
    known = inspect.signature(type(bare(model)).forward).parameters
    return {"logits_to_keep": last} if "logits_to_keep" in known else {}


def padded(answers: Answers, device: Any) -> torch.Tensor:
    longest = max(map(len, answers))
    return torch.tensor([[*answer, *[-1] * (longest - len(answer))] for answer in answers], device=device)


# --- A decoder apart: the encoder reads once, the decoder writes each label


def of_a_decoder(model: Any, prompts: dict[str, Any], answers: Answers) -> torch.Tensor:
    inner = bare(model)
    told = padded(answers, model.device)
    read = model(**prompts, decoder_input_ids=begun(inner, told[:1, :1]).expand(len(prompts["input_ids"]), -1))
    posts = len(prompts["input_ids"])
    columns = []
    for part in told.split(max(1, ROWS // posts)):
        states = read.encoder_last_hidden_state.repeat_interleave(len(part), 0)
        logits = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=prompts["attention_mask"].repeat_interleave(len(part), 0),
            decoder_input_ids=begun(inner, part).repeat(posts, 1), use_cache=False,
        ).logits  # fmt: skip
        columns.append(summed(logits, part.repeat(posts, 1)).view(posts, len(part)))
    return torch.cat(columns, 1)


def begun(model: Any, told: torch.Tensor) -> torch.Tensor:
    """What the decoder reads to write this: a start, and each token but the last."""
    start = model.config.get_text_config().decoder_start_token_id
    before = told[:, :-1].clamp(min=0)
    return torch.cat([torch.full_like(told[:, :1], start), before], 1)


def summed(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    found = logits.float().log_softmax(-1).gather(-1, wanted.clamp(min=0)[..., None])[..., 0]
    return (found * (wanted >= 0)).sum(-1)


# --- The whole sequence: in training, and to hold the quick way against


def answer_logits(model: Any, inner: Any, batch: dict[str, Any], apart: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits that tell the answers of a batch, and the tokens to be told."""
    labels = batch.pop("labels")
    if apart:
        return model(**batch, decoder_input_ids=begun(inner, labels), use_cache=False).logits, labels
    last = int((labels != IGNORED).sum(1).max())
    logits = model(**batch, use_cache=False, **keeping(inner, last + 1)).logits
    return logits[:, -last - 1 : -1], labels[:, -last:]


@torch.no_grad()  # type: ignore[untyped-decorator]
def score_slowly(model: Any, encoder: Encoder, posts: Sequence[Post], answers: Answers) -> torch.Tensor:
    """A whole pass for each label: what `score` is held against."""
    forget_positions(model)
    prompts = encoder.prompts(posts)
    columns = []
    for answer in answers:
        batch = encoder.batch(dict(prompts), [answer] * len(posts))
        batch = {name: value.to(model.device) for name, value in batch.items()}
        logits, labels = answer_logits(model, bare(model), batch, encoder.apart)
        columns.append(summed(logits, labels))
    return torch.stack(columns, 1)


def in_batches(encoder: Encoder, posts: Any, size: int) -> Iterator[list[int]]:
    """The numbers of those with a picture, then of those without."""
    has = [encoder.family.needs_picture or bool(name) for name in posts["image"]]
    for wanted in (True, False):
        chosen = [n for n, with_picture in enumerate(has) if with_picture == wanted]
        for first in range(0, len(chosen), size):
            yield chosen[first : first + size]
