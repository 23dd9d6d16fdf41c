"""What a source holds, before it is divided into the splits that retemper uses."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from retemper.data.splits import Split
from retemper.errors import DataError

ROLES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


@dataclass(frozen=True, eq=False)
class Found:
    """The splits of a source under our names, "train" and perhaps "validation" and "test".

    Raises:
        DataError: the splits do not fit together: other shapes or types, fewer than two classes, or a class
            that train lacks.
    """

    splits: dict[str, Split]
    classes: tuple[str, ...]
    note: str = ""

    def __post_init__(self) -> None:
        train = self.splits["train"]
        if len(self.classes) < 2:
            raise DataError(f"Expected two classes or more, but got only {list(self.classes)}.")
        known = _present(train)
        for role, split in self.splits.items():
            if split.inputs.shape[1:] != train.inputs.shape[1:] or split.inputs.dtype != train.inputs.dtype:
                raise DataError(
                    f"Expected {role} to be like train, inputs of shape {tuple(train.inputs.shape[1:])} in "
                    f"{train.inputs.dtype}, but got {tuple(split.inputs.shape[1:])} in {split.inputs.dtype}; "
                    "prepare both in the same way."
                )
            strange = sorted(_present(split) - known)
            if strange:
                raise DataError(
                    f"Class {self.classes[strange[0]]!r} is in {role} but has no image in train; "
                    "check the labels, or choose classes that train has with `classes`."
                )


def roles(names: Iterable[str], source: str) -> dict[str, str]:
    """Map our split names to those of the source, whose other splits are left aside.

    Raises:
        DataError: no split is called "train".
    """
    names = list(names)
    chosen: dict[str, str] = {}
    for theirs, ours in ROLES.items():
        if theirs in names:
            chosen.setdefault(ours, theirs)
    if "train" not in chosen:
        raise DataError(f"Expected a split called 'train' in {source}, but got {names}; rename one.")
    return chosen


def _present(split: Split) -> set[int]:
    return set(torch.bincount(split.labels).nonzero().flatten().tolist())
