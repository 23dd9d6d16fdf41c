"""The axes that every plot of shares is drawn on."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (4.5, 3.0)  # inches: text this large can still be read where a phone shrinks the figure to its width


def share_axes(title: str, label: str) -> tuple["Figure", "Axes"]:
    """An empty figure with shares from 0 to 100 % upwards; to be called inside `drawing`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(label)
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(lambda share, _place: f"{100 * share:.3g} %")
    return figure, axes


def apart(places: Sequence[float], labels: Sequence[str]) -> list[str]:
    """The labels, from the largest place down; one that would run into the one before it or into 0 is left out."""
    least = 0.1 * places[-1]
    shown: list[str] = []
    free = math.inf
    for place, label in zip(reversed(places), reversed(labels), strict=True):
        fits = place == 0 or least <= place <= free
        shown.append(label if fits else "")
        free = place - least if fits else free
    return shown[::-1]
