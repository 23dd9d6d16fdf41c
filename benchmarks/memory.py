"""The peak memory of a training step."""

import multiprocessing
import resource
import sys
from collections.abc import Callable

from retemper.objectives import Objective


def peak_bytes(objective: Objective, precision: str) -> int:
    """The highest resident memory of a fresh process that takes three steps, less that of the process before."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measure, (objective, precision))


def _measure(objective: Objective, precision: str) -> int:
    from benchmarks.step import step

    take: Callable[[], None] = step(objective, precision)
    before = _highest()
    for _ in range(3):
        take()
    return _highest() - before


def _highest() -> int:
    # Kilobytes on Linux, bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
