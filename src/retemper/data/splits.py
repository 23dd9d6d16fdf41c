"""What every source becomes: labelled inputs in [0, 1], in three splits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from retemper.data.hashing import content_hash
from retemper.errors import DataError, SettingError

Batch = tuple[Float[Tensor, " batch *shape"], Int[Tensor, " batch"]]

_CHUNK = 256  # inputs turned into doubles at a time: few enough to stay in a processor's cache


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs and their labels, held in memory.

    Args:
        inputs: uint8, where value / 255 is the input, or float32 or float64 already in [0, 1];
            (N, C, H, W) for images and (N, D) for vectors.
        labels: int64 class numbers.

    Raises:
        DataError: the types are others, the counts differ, or there is nothing in it.
    """

    inputs: Shaped[Tensor, " images *shape"]
    labels: Int[Tensor, " images"]

    def __post_init__(self) -> None:
        for name in ("inputs", "labels"):
            if not isinstance(value := getattr(self, name), Tensor):
                raise DataError(
                    f"Expected `{name}` to be a tensor, but got {type(value).__name__}; convert it with "
                    "torch.as_tensor, or let retemper.load read the arrays."
                )
        if self.inputs.dtype not in (torch.uint8, torch.float32, torch.float64) or self.inputs.ndim < 2:
            raise DataError(
                "Expected inputs of uint8, float32 or float64 with a first dimension that counts them, "
                f"but got {self.inputs.dtype} of shape {tuple(self.inputs.shape)}."
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.inputs.shape[:1]:
            raise DataError(
                f"Expected {len(self.inputs)} labels of int64, one an input, "
                f"but got {self.labels.dtype} of shape {tuple(self.labels.shape)}."
            )
        if len(self.labels) == 0:
            raise DataError("Expected at least one input in a split, but got none.")

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Int[Tensor, " batch"] | slice) -> Batch:
        """Give the inputs at `index` as floats in [0, 1], and their labels."""
        inputs = self.inputs[index]
        return inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs, self.labels[index]

    def batches(self, size: int) -> Iterator[Batch]:
        """Give everything once and in order, `size` at a time; the last batch may be smaller."""
        if size < 1:
            raise SettingError(f"Expected a batch size of 1 or more, but got {size}.")
        for start in range(0, len(self), size):
            yield self.batch(slice(start, start + size))

    def take(self, count: int) -> "Split":
        """Give the first `count`, or all if there are fewer."""
        if count < 1:
            raise SettingError(f"Expected to take 1 image or more, but got {count}.")
        return Split(self.inputs[:count], self.labels[:count])

    def to(self, device: torch.device | str) -> "Split":
        """Give the same split on another device."""
        return Split(self.inputs.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Data:
    """A data set ready for training and evaluation.

    Args:
        name: What figures and files call it.
        train: What weights are fitted on.
        validation: What settings and checkpoints are chosen on.
        test: What is opened once, for the table.
        classes: The name of each label.
        note: What a reader of figures on this data must know, such as lossy storage; else empty.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    note: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.train.inputs.shape[1:])

    def split(self, name: str) -> Split:
        """Give a split by its name.

        Raises:
            SettingError: it is none of "train", "validation" and "test".
        """
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in splits:
            raise SettingError(f"Expected a split out of {', '.join(splits)}, but got {name!r}.")
        return splits[name]

    def fingerprint(self) -> str:
        """Hash the content of all splits and the class names, for results files and resuming."""
        splits = (self.train, self.validation, self.test)
        return content_hash((tensor for split in splits for tensor in (split.inputs, split.labels)), self.classes)

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Measure mean and standard deviation over the train split, for a model's first layer.

        Returns:
            Per channel for images; one pair of numbers for vectors. A constant channel gets a standard
            deviation of 1, so that dividing by it is safe.
        """
        channels = self.shape[0] if len(self.shape) == 3 else 1
        mean = self._mean(lambda values: values, channels)
        variance = self._mean(lambda values: (values - mean[:, None]) ** 2, channels)
        std = variance.sqrt()
        # Rounding leaves a constant channel a standard deviation just above zero.
        std = torch.where(std < 1e-8, 1.0, std)
        return tuple(mean.tolist()), tuple(std.tolist())

    def _mean(self, function: Callable[[Tensor], Tensor], channels: int) -> Float[Tensor, " channels"]:
        """Average a function of the train inputs in double precision, a part at a time to save memory."""
        total = torch.zeros(channels, dtype=torch.float64)
        for inputs, _ in self.train.batches(_CHUNK):
            total += function(inputs.cpu().double().reshape(len(inputs), channels, -1)).sum(2).sum(0)
        return total * channels / self.train.inputs.numel()
