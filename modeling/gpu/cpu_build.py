"""Before transformers is imported on a machine without CUDA.

torchvision's wheel is a CUDA build. Beside a CPU build of torch it dies at import, and takes every processor with a
video part along. Its operators are never called here, so declaring them is enough.
"""

import importlib.util
from typing import Any

OPERATORS = ("nms", "qnms", *(
    f"{name}{way}" for name in ("roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")
    for way in ("", "_backward")
))  # fmt: skip
KEPT: list[Any] = []  # a library is gone with the last reference to it


def prepare() -> None:
    import torch

    if torch.version.cuda is not None or KEPT or importlib.util.find_spec("torchvision") is None:
        return
    library = torch.library.Library("torchvision", "DEF")
    for operator in OPERATORS:
        library.define(f"{operator}(Tensor a) -> Tensor")
    KEPT.append(library)
