"""The logistic loss over all pairs of scores: by one sort against looking at each pair, in time, digits and memory.

One thread, float64, forward and backward, at 100,000 x 100,000 and at 64 x 64. The 10,000,000,000 pairs are looked at
once, in minutes, for the time and for the digits: that is the whole sum and not a share of it, scaled up.
"""

import multiprocessing
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.figures import Figure, figure, paired_ratio, seconds
from benchmarks.memory import STATUS, kilobytes
from retemper.objectives.pairs import pair_loss

MANY, FEW = 100_000, 64
# Rows of pairs at a time: the fastest of 1, 2, 5, 20 and 100.
ROWS = 20
MEMORY_REPEATS = 3
CALLS = 100


def run(repeats: int) -> list[Figure]:
    """Speed-up, largest relative error, peak extra memory, and the ratio of times of few pairs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [*_many(repeats), _memory(), _few(repeats)]
    finally:
        torch.set_num_threads(threads)


def scores(count: int) -> tuple[Tensor, Tensor]:
    """Positives and negatives that overlap, with differences from -50 to 60: losses and slopes of all sizes."""
    generator = torch.Generator().manual_seed(0)
    drawn = 5 * torch.randn(2, count, generator=generator, dtype=torch.float64)
    return (drawn[0] + 5).requires_grad_(), drawn[1].requires_grad_()


def direct(positive: Tensor, negative: Tensor) -> float:
    """The mean over pairs, some rows at a time, each of which sends its gradient back at once."""
    total = 0.0
    for rows in positive.split(ROWS):
        loss = F.softplus(-(rows[:, None] - negative)).sum() / (len(positive) * len(negative))
        loss.backward()
        total += loss.item()
    return total


def _many(repeats: int) -> list[Figure]:
    labels = (f"one sort, {MANY:,} x {MANY:,} scores", f"each pair, {ROWS} rows at a time, the whole sum once")
    positive, negative = scores(MANY)
    found = []
    slow = seconds(lambda: found.append(direct(positive, negative)))
    expected = [torch.tensor(found[0], dtype=torch.float64), *_gradients(positive, negative)]
    loss = pair_loss(positive, negative)
    loss.backward()
    ours = [loss.detach(), *_gradients(positive, negative)]
    error = max(float(((a - b) / b).abs().max()) for a, b in zip(ours, expected, strict=True))
    speedups = [slow / seconds(lambda: pair_loss(positive, negative).backward()) for _ in range(repeats)]
    return [
        figure("pair_sum_speedup", speedups, labels),
        Figure("pair_sum_relative_error", error, error, error, "", "the loss and each gradient entry", labels[1], 1),
    ]


def _gradients(*leaves: Tensor) -> list[Tensor]:
    """The leaves' gradients, which then start anew."""
    gradients = []
    for leaf in leaves:
        assert leaf.grad is not None, "a backward pass ran"
        gradients.append(leaf.grad)
        leaf.grad = None
    return gradients


def _few(repeats: int) -> Figure:
    positive, negative = scores(FEW)
    return paired_ratio(
        "pair_sum_small_ratio",
        _often(lambda: pair_loss(positive, negative)),
        _often(lambda: F.softplus(-(positive[:, None] - negative)).mean()),
        (f"pair_loss, {FEW} x {FEW}, {CALLS} calls", "softplus(-(p - n)).mean()"),
        repeats,
    )


def _often(loss: Callable[[], Tensor]) -> Callable[[], None]:
    def act() -> None:
        for _ in range(CALLS):
            loss().backward()

    return act


def _memory() -> Figure:
    """Raises NotImplementedError where there is no /proc, which alone tells a process's own peak."""
    if not STATUS.is_file():
        raise NotImplementedError("Peak memory is read from /proc, which only Linux has.")
    peaks = []
    for _ in range(MEMORY_REPEATS):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peaks.append(pool.apply(_peak_megabytes))
    middle = sorted(peaks)[len(peaks) // 2]
    labels = (f"forward and backward, {MANY:,} x {MANY:,}", "a fresh process that has the scores")
    return Figure("pair_sum_memory", middle, min(peaks), max(peaks), " MB", *labels, pairs=len(peaks))


def _peak_megabytes() -> float:
    torch.set_num_threads(1)
    pair_loss(*scores(1000)).backward()  # what torch loads at a first call is no memory of the sum
    positive, negative = scores(MANY)
    before = kilobytes("VmRSS")
    pair_loss(positive, negative).backward()
    return (kilobytes("VmHWM") - before) * 1024 / 1e6
