"""The loss over all pairs of scores against LibAUC's pairwise AUC loss, where both are the same sum.

One thread, forward and backward, from scores and labels, as a step of training calls both; LibAUC's time has a Python
loop over the labels in it. It looks at each pair, and memory for all of them is what limits these sizes. Loss and
gradient are compared in float64 first; what differs is not timed. Timed are scores of float32, as networks give them;
ours are computed in float64 all the same, LibAUC's not.
"""

import importlib
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.figures import Figure, paired_ratio
from benchmarks.pairs import scores
from retemper.objectives.pairs import pair_loss

SIZES = (1000, 2000, 4000)
LOSSES = ("logistic", "squared-hinge")  # the default of LibAUC's code, and that of its documentation
SAME = 1e-6

Loss = Callable[[Tensor, Tensor], Tensor]


def run(repeats: int) -> list[Figure]:
    """For each loss the largest relative error, and at each size the ratio of times.

    Raises:
        SystemExit: LibAUC is not there, or one of its losses is another sum than ours.
    """
    try:
        library = importlib.import_module("libauc.losses")
    except (ImportError, RuntimeError, OSError) as error:
        raise SystemExit(
            f"libauc is left out: {type(error).__name__}: {error}. `make bench-peers` installs it and runs this."
        ) from None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [
            figure
            for name in LOSSES
            for figure in _figures(name, partial(_ours, name), library.PairwiseAUCLoss(name.replace("-", "_")), repeats)
        ]
    finally:
        torch.set_num_threads(threads)


def _ours(name: str, drawn: Tensor, labels: Tensor) -> Tensor:
    return pair_loss(drawn[labels == 1], drawn[labels == 0], name)


def _figures(name: str, ours: Loss, theirs: Loss, repeats: int) -> Iterator[Figure]:
    word = name.replace("-", "_")
    error = max(_relative_error(ours, theirs, size) for size in SIZES)
    if not error < SAME:
        raise SystemExit(f"LibAUC's {name} loss or its gradient is off ours by {error:.1e} of it: it is another sum.")
    labels = (f"pair_loss, {name}, the loss and each gradient entry, all sizes", "PairwiseAUCLoss of LibAUC")
    yield Figure(f"libauc_{word}_relative_error", error, error, error, "", *labels, pairs=len(SIZES))
    for size in SIZES:
        drawn, classes = _drawn(size, torch.float32)
        yield paired_ratio(
            f"libauc_{word}_ratio_{size}",
            partial(_step, ours, drawn, classes),
            partial(_step, theirs, drawn, classes),
            (f"pair_loss, {name}, {size:,} x {size:,}", "PairwiseAUCLoss of LibAUC"),
            repeats,
        )


def _relative_error(ours: Loss, theirs: Loss, size: int) -> float:
    drawn, classes = _drawn(size, torch.float64)
    pairs = zip(_step(ours, drawn, classes), _step(theirs, drawn, classes), strict=True)
    # Some scores have no pair that falls short: both gradients are then exactly 0.
    return max(float(((a - b).abs() / b.abs().clamp_min(torch.finfo(b.dtype).tiny)).max()) for a, b in pairs)


def _drawn(size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """As many scores of positives, labelled 1, as of negatives, labelled 0."""
    drawn = torch.cat(scores(size)).detach().to(dtype).requires_grad_()
    return drawn, (torch.arange(2 * size) < size).long()


def _step(loss: Loss, drawn: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and its gradient by the scores."""
    value = loss(drawn, classes)
    (gradient,) = torch.autograd.grad(value, drawn)
    return value.detach(), gradient
