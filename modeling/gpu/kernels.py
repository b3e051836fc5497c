"""Liger's kernels (arXiv 2410.10989) in place of a language model's plain norms and feed-forward parts, on a card.

Liger's own way of putting them there asks transformers for names that it no longer has, so we hang them in ourselves.
What sees is frozen and runs once, and the loss is on a few answer tokens: neither would gain anything.
"""

import importlib.util
import logging
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

PROBED = 32  # tokens
FAR = 0.1  # of the states' own length: more than what bf16 rounds off, less than any mistake
# How a norm weighs: what its weight is counted from, and when it rounds.
NORMS = {
    **dict.fromkeys(("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen2VLRMSNorm", "Qwen2_5_VLRMSNorm",
                     "Qwen3VLTextRMSNorm"), (0.0, "llama")),
    **dict.fromkeys(("Gemma2RMSNorm", "Gemma3RMSNorm", "Qwen3_5RMSNorm"), (1.0, "gemma")),
    "Gemma4RMSNorm": (0.0, "gemma"),
}  # fmt: skip
GATED = {"LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3VLTextMLP", "Qwen3_5MLP", "Gemma2MLP", "Gemma3MLP",
         "Gemma4TextMLP"}  # fmt: skip
GATES = {"SiLU": "SwiGLU", "SiLUActivation": "SwiGLU", "GELUTanh": "GeGLU"}  # by how they bend what goes through

Forward = Callable[[torch.Tensor], torch.Tensor]


def use(model: Any) -> str:
    """Whatever of them fits, where it is installed; and what that was, for the receipt."""
    if not torch.cuda.is_available():
        return ""
    if importlib.util.find_spec("liger_kernel") is None:
        return "Liger: not installed"
    language = model.get_decoder()
    words = language.get_input_embeddings().weight
    if not words.is_cuda or not words.numel():
        return "Liger: not where cards share the weights"
    try:
        return put_in_place(language)
    except Exception as error:  # Triton builds them on the spot: that wants a compiler, and a card that it knows
        take_out(language)
        logging.getLogger(__name__).warning("Liger's kernels could not be used: %s", error)
        return f"Liger: left out, {type(error).__name__}"


def put_in_place(language: Any) -> str:
    found = [(module, *made) for module in language.modules() if (made := forward_of(module))]
    if not found:
        return "Liger: not for this family"
    before = states(language)
    for module, _, forward in found:
        module.forward = forward
    off = float((states(language) - before).norm() / before.norm())
    if not off < FAR:
        take_out(language)
        return f"Liger: left out, with it the model computes something else ({off:.2g} off)"
    count = Counter(kind for _, kind, _ in found)
    return f"Liger {version('liger-kernel')}: {', '.join(f'{n} {kind}' for kind, n in sorted(count.items()))}"


def take_out(language: Any) -> None:
    for module in language.modules():
        if "forward" in vars(module) and type(module).__name__ in {*NORMS, *GATED}:
            del module.forward


def forward_of(module: Any) -> tuple[str, Forward] | None:
    name = type(module).__name__
    if name in NORMS and getattr(module, "weight", None) is not None:  # some of Gemma 4's have none
        return "RMSNorm", norm(module, *NORMS[name])
    if name in GATED and (gate := GATES.get(type(module.act_fn).__name__)):
        return gate, gated(module, gate)
    return None


def norm(module: Any, offset: float, rounds: str) -> Forward:
    from liger_kernel.ops import LigerRMSNormFunction

    epsilon = module.eps if hasattr(module, "eps") else module.variance_epsilon

    def forward(hidden_states: torch.Tensor) -> torch.Tensor:
        in_place, by_rows = False, None
        return LigerRMSNormFunction.apply(hidden_states, module.weight, epsilon, offset, rounds, in_place, by_rows)

    return forward


def gated(module: Any, gate: str) -> Forward:
    from liger_kernel.ops import LigerGELUMulFunction, LigerSiLUMulFunction

    kernel = {"SwiGLU": LigerSiLUMulFunction, "GeGLU": LigerGELUMulFunction}[gate]

    def forward(x: torch.Tensor) -> torch.Tensor:
        return module.down_proj(kernel.apply(module.gate_proj(x), module.up_proj(x)))

    return forward


@torch.no_grad()  # type: ignore[untyped-decorator]
def states(language: Any) -> torch.Tensor:
    """What it makes of a few tokens."""
    tokens = torch.arange(PROBED, device=language.get_input_embeddings().weight.device)[None]
    return language(input_ids=tokens, use_cache=False).last_hidden_state.float()
