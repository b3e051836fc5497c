"""Which weight matrices hold the most signal for their noise (Spectrum, arXiv 2406.06623): those are trained."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

LAYER = re.compile(r"\.\d+\.")


def signal_to_noise(weight: torch.Tensor) -> float:
    """Singular values above what noise of this spread would reach, to those below, by the largest."""
    small, large = sorted(weight.shape)
    matrix = weight.detach().float()
    gram = matrix @ matrix.T if matrix.shape[0] == small else matrix.T @ matrix
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    quarter, three = torch.quantile(values, torch.tensor([0.25, 0.75], device=values.device, dtype=values.dtype))
    threshold = float(three - quarter) / 1.349 * (1 + math.sqrt(small / large))
    noise = float(values[values <= threshold].sum())
    largest = float(values.max())
    return float(values[values > threshold].sum()) / max(noise, 1e-12) / max(largest, 1e-12)


def chosen(matrices: Iterable[tuple[str, Any]], share: float) -> list[str]:
    """The best of each kind of module, so that no kind is left out because another has larger figures."""
    kinds: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
    for name, weight in matrices:
        kinds[LAYER.sub(".*.", name)].append((signal_to_noise(weight), name))
    found = []
    for scores in kinds.values():
        best = sorted(scores, reverse=True)[: max(1, round(share * len(scores)))]
        found += [name for _, name in best]
    return sorted(found)
