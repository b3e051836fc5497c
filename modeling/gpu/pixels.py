"""How large a picture may be, in each family's own terms: it decides most of what a step costs."""

from collections.abc import Callable
from typing import Any

from .config import Config
from .families import Pixels

SOFT_TOKENS = (70, 140, 280, 560, 1120)  # Gemma 4 knows these steps alone


def limit(processor: Any, model: Any, how: Pixels, config: Config) -> None:
    images = processor.image_processor
    LIMITS[how](images, config)
    if how == "grid":  # the model counts by its own list, which must be the same
        model.config.image_grid_pinpoints = images.image_grid_pinpoints


def budget(images: Any, config: Config) -> None:
    images.size = {"shortest_edge": config.min_pixels, "longest_edge": config.max_pixels}
    for name, value in (("min_pixels", config.min_pixels), ("max_pixels", config.max_pixels)):
        if hasattr(images, name):
            setattr(images, name, value)


def edge(images: Any, config: Config) -> None:
    """The side of the square that has so many pixels, and never a larger one than the model was made for."""
    size = dict(images.size)
    longest = min(size["longest_edge"], side_of(config))
    shortest = {"shortest_edge": min(size["shortest_edge"], longest)} if size.get("shortest_edge") else {}
    images.size = {**size, "longest_edge": longest, **shortest}


def grid(images: Any, config: Config) -> None:
    """Of the shapes it cuts a picture to, those that are small enough; the smallest one where none is."""
    shapes = sorted(images.image_grid_pinpoints, key=lambda shape: (shape[0] * shape[1], shape))
    images.image_grid_pinpoints = [shape for shape in shapes if shape[0] * shape[1] <= config.max_pixels] or shapes[:1]


def tiles(images: Any, config: Config) -> None:
    size = dict(images.size)
    most = max(1, config.max_pixels // (size["height"] * size["width"]))
    images.max_patches = min(images.max_patches, most)
    images.min_patches = min(images.min_patches, images.max_patches)


def tokens(images: Any, config: Config) -> None:
    each = (images.patch_size * images.pooling_kernel_size) ** 2
    steps = [step for step in SOFT_TOKENS if step * each <= config.max_pixels] or SOFT_TOKENS[:1]
    images.max_soft_tokens = min(images.max_soft_tokens, steps[-1])


def nothing(images: Any, config: Config) -> None:
    """The model sees one size alone."""


def side_of(config: Config) -> int:
    return max(1, int(config.max_pixels**0.5))


LIMITS: dict[Pixels, Callable[[Any, Config], None]] = {
    "pixels": budget, "edge": edge, "cost": edge, "grid": grid, "tiles": tiles, "tokens": tokens, "fixed": nothing,
}  # fmt: skip
