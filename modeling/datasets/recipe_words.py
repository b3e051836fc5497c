"""Pure: what a recipe asks for, in sentences."""

from collections.abc import Iterator

from .recipe import SOURCES, Recipe

SOURCE_WORDS = {
    "review": "people in review",
    "consensus": "the consensus of voters",
    "model": "our own tuned model",
    "import": "the imported file",
}


def in_words(recipe: Recipe) -> list[str]:
    return [*taken(recipe), *shares(recipe), *shape(recipe)]


def taken(recipe: Recipe) -> Iterator[str]:
    named = [SOURCE_WORDS[source] for source in SOURCES if source in recipe.sources]
    yield "Labels from any source." if len(named) == len(SOURCES) else f"Labels from {listed(named)}."
    if recipe.least_confidence is not None:
        yield f"Machines' labels only where every voter for it was at least {percent(recipe.least_confidence)} sure."
    yield "One post of each group of near-duplicates." if recipe.one_per_group else "All near-duplicates."
    if recipe.size is not None:
        yield f"At most {recipe.size:,} posts, the locked test set aside."


def shares(recipe: Recipe) -> Iterator[str]:
    named = {"train": recipe.train, "validation": recipe.validation, "test": recipe.test}
    yield f"Split into {listed([f'{percent(share)} {name}' for name, share in named.items() if share])}."


def shape(recipe: Recipe) -> Iterator[str]:
    for label, cap in recipe.caps.items():
        yield f"At most {cap:,} posts to train on labelled {label}."
    if recipe.balanced:
        yield "Weights that balance the labels in training."
    else:
        weights = {label: weight for label, weight in recipe.weights.items() if weight != 1}
        if weights:
            yield f"Weights in training: {listed([f'{label} {weight:g}' for label, weight in weights.items()])}."
    if recipe.incongruous is not None:
        yield f"{percent(recipe.incongruous)} of what is trained on incongruous."


def percent(share: float) -> str:
    return f"{100 * share:.4g}%"


def listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
