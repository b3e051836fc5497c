"""Pure: what a model has to beat, which is the shares of the labels alone, and the words alone.

Probabilities are an array with a row a post, in the order of `labels`; no model here ever sees a label of those posts.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float64]
Rows = NDArray[np.int64]
Beat = Callable[[int, int], None]  # how many models are done, and of how many

FEW = 20_000  # texts; of more, the letters within words would take minutes and tell little more than the words
MOST = 100_000  # texts learned from, and columns: of more, as many at random, so that memory has a bound
COLUMNS = 2**18
WORD = r"\w+|[^\w\s]"  # an exclamation mark and an emoji tell as much as a word
PULL = 10.0  # scikit-learn's C
PASSES = 20  # over the texts; more of them changed nothing that could be measured


class OutOfFold(NamedTuple):
    probabilities: Probabilities
    folds: int  # that were really used
    repeats: int


class TooFew(Exception):
    """Posts that are all alike cannot be set apart; the words are for whoever asked."""


# --- The labels alone


def majority(train_labels: Sequence[str], labels: tuple[str, ...], n: int) -> Probabilities:
    """The same for every post. One is added to each count: what never came up so far is unlikely, not impossible."""
    counts = Counter(train_labels)
    ours = np.array([counts[label] + 1.0 for label in labels])
    return np.tile(ours / ours.sum(), (n, 1))


# --- The words alone


def text(
    train_texts: Sequence[str], train_labels: Sequence[str], texts: Sequence[str], labels: tuple[str, ...], seed: int
) -> Probabilities:
    """Words and pairs of them, and 3 to 5 letters within words, weighed by how rare they are: logistic regression.

    Labels weigh alike however rare: on 500 real tweets, a third of them negative, that gave a macro F1 of 0.77 and a
    log loss of 0.466, without it 0.72 and 0.470 (5 folds, 3 times).
    """
    if not train_texts or not texts:
        return majority(train_labels, labels, len(texts))
    counted = Counted([*train_texts, *texts])
    train, asked = np.arange(len(train_texts)), np.arange(len(train_texts), len(train_texts) + len(texts))
    return learned(counted, train, train_labels, asked, labels, seed)


def cross_validated(
    texts: Sequence[str], labels_of_posts: Sequence[str], labels: tuple[str, ...], groups: Sequence[int],
    folds: int = 5, repeats: int = 3, seed: int = 0, beat: Beat = lambda done, of: None,
) -> OutOfFold:  # fmt: skip
    """Of each post, the mean over the repeats of what models say that saw no post of its group."""
    used = folds_for(labels_of_posts, groups, folds)
    counted = Counted(texts)
    beat(0, used * repeats)
    total = np.zeros((len(texts), len(labels)))
    done = 0
    for repeat in range(repeats):
        for train, asked in parted(labels_of_posts, groups, used, seed + repeat):
            theirs = [labels_of_posts[row] for row in train]
            total[asked] += learned(counted, train, theirs, asked, labels, seed + repeat)
            done += 1
            beat(done, used * repeats)
    return OutOfFold(total / repeats, used, repeats)


def folds_for(labels_of_posts: Sequence[str], groups: Sequence[int], folds: int) -> int:
    """So many that each can hold every label; what is alike through and through can be in one fold only, and is not
    asked."""
    if len(set(groups)) < 2:
        raise TooFew("All posts are alike, or there is only one: no model could be tried on what it has not seen.")
    of_label: dict[str, set[int]] = {}
    for label, group in zip(labels_of_posts, groups, strict=True):
        of_label.setdefault(label, set()).add(group)
    return max(2, min([folds, *(len(them) for them in of_label.values() if len(them) > 1)]))


def parted(labels_of_posts: Sequence[str], groups: Sequence[int], folds: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    alone = len(set(groups)) == len(groups)
    kind = StratifiedKFold if alone else StratifiedGroupKFold  # the first is quicker, and where none are alike the same
    with warnings.catch_warnings(category=UserWarning, action="ignore"):  # of labels that are rarer than folds
        yield from kind(folds, shuffle=True, random_state=seed).split(labels_of_posts, labels_of_posts, groups)


class Counted:
    """What each text is made of. Hashed, which learns nothing, so it is done once for all folds."""

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        plain: dict[str, Any] = {"n_features": COLUMNS, "norm": None, "alternate_sign": False, "dtype": np.float32}
        words = HashingVectorizer(ngram_range=(1, 2), token_pattern=WORD, **plain)
        letters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **plain)
        kinds = [words, letters] if len(texts) <= FEW else [words]
        self.parts = [kind.transform(texts) for kind in kinds]

    def weighed(self, train: Rows, asked: Rows) -> tuple[Any, Any] | None:
        """How rare a word is, is told by the texts learned from alone. None where these have nothing in common."""
        from scipy.sparse import hstack
        from sklearn.feature_extraction.text import TfidfTransformer

        pairs = []
        for part in self.parts:
            ours = part[train]
            columns = worth_keeping(ours)
            if not len(columns):
                continue
            weigh = TfidfTransformer(sublinear_tf=True)
            pairs.append((weigh.fit_transform(ours[:, columns]), weigh.transform(part[asked][:, columns])))
        if not pairs:
            return None
        return hstack([one for one, _ in pairs], format="csr"), hstack([other for _, other in pairs], format="csr")


def worth_keeping(counts: Any) -> Rows:
    """What two texts have in common, the most frequent first where there is too much."""
    frequency = counts.getnnz(axis=0)
    columns = np.flatnonzero(frequency > 1)
    if len(columns) > MOST:
        columns = np.sort(columns[np.argsort(-frequency[columns], kind="stable")[:MOST]])
    return columns


def learned(
    counted: Counted, train: Rows, train_labels: Sequence[str], asked: Rows, labels: tuple[str, ...], seed: int
) -> Probabilities:
    if len(train) > MOST:
        some = np.sort(np.random.default_rng(seed).choice(len(train), MOST, replace=False))
        train, train_labels = train[some], [train_labels[row] for row in some]
    weighed = counted.weighed(train, asked) if len(set(train_labels)) > 1 and len(asked) else None
    if weighed is None:
        return majority(train_labels, labels, len(asked))
    ours, theirs = weighed
    return with_the_unseen(*fitted(ours, train_labels, theirs, seed), labels, len(train))


def fitted(ours: Any, train_labels: Sequence[str], theirs: Any, seed: int) -> tuple[list[str], Probabilities]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=PULL, class_weight="balanced", solver="saga", max_iter=PASSES, random_state=seed)
    with warnings.catch_warnings(category=ConvergenceWarning, action="ignore"):  # enough is as good as a feast
        model.fit(ours, np.array(train_labels))
    found = model.predict_proba(theirs).astype(np.float64)
    return list(model.classes_), found / found.sum(axis=1, keepdims=True)


def with_the_unseen(seen: list[str], found: Probabilities, labels: tuple[str, ...], n: int) -> Probabilities:
    """A label that was not among those learned from is unlikely, not impossible, as in `majority`."""
    unseen = 1 / (n + len(labels))
    full = np.full((len(found), len(labels)), unseen)
    columns = [labels.index(label) for label in seen]
    full[:, columns] = found * (1 - unseen * (len(labels) - len(seen)))
    return full
