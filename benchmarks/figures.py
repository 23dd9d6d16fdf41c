"""A measured figure, how pairs are measured, and how figures are printed."""

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retemper.environment import describe


@dataclass(frozen=True)
class Figure:
    """A ratio of ours to a peer, measured in pairs in one run.

    Attributes:
        name: what the docs call it.
        value: the median over pairs.
        low: the first quartile over pairs.
        high: the third quartile.
        unit: "x" for ratios.
        ours: what was measured.
        peer: what it is compared with.
        pairs: how many.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    ours: str
    peer: str
    pairs: int


def paired_ratio(
    name: str, ours: Callable[[], object], peer: Callable[[], object], labels: tuple[str, str], repeats: int
) -> Figure:
    """Time both in turn, so that whatever else the machine does falls on both; the ratios of neighbours count."""
    ours(), peer()
    ratios = []
    for repeat in range(repeats):
        # Which one goes first alternates, so that neither always meets the other's warm caches.
        if repeat % 2:
            mine, theirs = seconds(ours), seconds(peer)
        else:
            theirs, mine = seconds(peer), seconds(ours)
        ratios.append(mine / theirs)
    return figure(name, ratios, labels)


def figure(name: str, ratios: Sequence[float], labels: tuple[str, str]) -> Figure:
    """Median and quartiles of ratios."""
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return Figure(name, middle, low, high, "x", *labels, pairs=len(ratios))


def seconds(action: Callable[[], object]) -> float:
    """How long it takes, by the wall clock."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def circumstances() -> dict[str, Any]:
    """Machine, versions and commit."""
    root = Path(__file__).parents[1]
    commit = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return {**describe(), "commit": commit.stdout.strip() or "unknown"}


def print_figures(figures: Sequence[Figure]) -> None:
    """One line a figure and one for what was measured against what, then the circumstances."""
    for found in figures:
        print(f"{found.name}: {found.value:.3g}{found.unit} ({found.low:.3g}-{found.high:.3g}, {found.pairs} pairs)")
        print(f"    {found.ours}  against  {found.peer}")
    print(", ".join(f"{name} {value}" for name, value in circumstances().items()))
