"""From what a source holds to train, validation and test, with every class in each."""

from collections.abc import Sequence

import numpy as np
import torch

from retemper.checks import as_seed
from retemper.data.found import Found
from retemper.data.splits import Data, Split
from retemper.errors import DataError, SettingError

# Fixed, so that figures from any two runs are on the same test images.
_TEST_SHARE = 1 / 3
_TEST_SEED = 0
_SORTED_SEED = 0


def check_settings(classes: Sequence[str] | None, validation: float, seed: int) -> None:
    """Refuse what cannot be, before anything is read."""
    if not 0 < validation < 1:
        raise SettingError(f"Expected `validation` to be a share between 0 and 1, but got {validation}.")
    as_seed(seed)
    if classes is not None and (isinstance(classes, str) or len(classes) < 2 or len(set(classes)) < len(classes)):
        raise SettingError(f"Expected `classes` to be two or more different names, but got {classes!r}.")


def divide(name: str, found: Found, classes: Sequence[str] | None, validation: float, seed: int) -> Data:
    """Choose classes and split off the parts that the source does not have.

    The test part is split off before classes are chosen: a model trained on some of the classes has then
    never seen a test image of any of them.
    """
    splits = {role: _mixed(split) for role, split in found.splits.items()}
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
    if "test" not in splits:
        splits["train"], splits["test"] = _split_off(splits["train"], _TEST_SHARE, _TEST_SEED, found.classes, "test")
    found = Found(splits, found.classes, found.note)
    if classes is not None:
        found = choose(found, classes)
    splits = dict(found.splits)
    if "validation" not in splits:
        splits["train"], splits["validation"] = _split_off(
            splits["train"], validation, seed, found.classes, "validation"
        )
    return Data(name, splits["train"], splits["validation"], splits["test"], found.classes, found.note)


def _mixed(split: Split) -> Split:
    """Shuffle a split that comes sorted by class, as image folders do: its first images are then of all classes."""
    if len(split.labels.unique()) < 2 or not bool((split.labels.diff() >= 0).all()):
        return split
    return _at(split, np.random.default_rng(_SORTED_SEED).permutation(len(split)))


def choose(found: Found, names: Sequence[str]) -> Found:
    """Keep the classes called `names`, numbered in that order."""
    unknown = [name for name in names if name not in found.classes]
    if unknown:
        raise DataError(
            f"Expected `classes` to be among {list(found.classes)}, but got {unknown[0]!r}; names are matched exactly."
        )
    number = torch.full((len(found.classes),), -1)
    number[[found.classes.index(name) for name in names]] = torch.arange(len(names))
    splits = {}
    for role, split in found.splits.items():
        labels = number[split.labels]
        absent = sorted(set(range(len(names))) - set(labels.tolist()))
        if absent:
            raise DataError(f"Class {names[absent[0]]!r} has no image in {role}; leave it out of `classes`.")
        kept = labels >= 0
        splits[role] = Split(split.inputs[kept], labels[kept])
    return Found(splits, tuple(names), found.note)


def _split_off(split: Split, share: float, seed: int, classes: tuple[str, ...], purpose: str) -> tuple[Split, Split]:
    """Divide a split at random, stratified by class, into the rest and a `share` of it."""
    from sklearn.model_selection import train_test_split

    labels = split.labels.numpy()
    present, counts = np.unique(labels, return_counts=True)
    too_few = DataError(
        f"Class {classes[present[counts.argmin()]]!r} has only {counts.min()} of {len(labels)} training "
        f"images, too few to split off a share of {share:.3g} as {purpose}; add images, leave the class out "
        f"with `classes`, or give the source a {purpose} split of its own."
    )
    try:
        rest, part = train_test_split(np.arange(len(labels)), test_size=share, random_state=seed, stratify=labels)
    except ValueError:
        raise too_few from None
    if len(np.unique(labels[rest])) < len(present) or len(np.unique(labels[part])) < len(present):
        raise too_few
    return _at(split, rest), _at(split, part)


def _at(split: Split, index: np.ndarray) -> Split:
    chosen = torch.from_numpy(index)
    return Split(split.inputs[chosen], split.labels[chosen])
