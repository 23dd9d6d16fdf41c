"""The axes that every plot of shares is drawn on, and how they are labelled."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEAST_SPAN = 0.1
_LAYER_LABELS = 20  # how many fit below an axis
_LAYER_LETTERS = 16
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


def fit(axes: "Axes") -> None:
    """Show the part of the scale on which the lines lie, not less than a tenth, so that noise stays small."""
    from matplotlib.ticker import MaxNLocator

    shares = [share for line in axes.lines for share in np.asarray(line.get_ydata()) if math.isfinite(share)]
    low, high = min(shares, default=0.0), max(shares, default=1.0)
    missing = max(0.0, _LEAST_SPAN - (high - low)) / 2
    low, high = max(0.0, low - missing), min(1.0, high + missing)
    margin = 0.06 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def name_layers(axes: "Axes", names: Sequence[str]) -> None:
    """Write the layers' names along the bottom, those that fit."""
    every = math.ceil(len(names) / _LAYER_LABELS)
    axes.set_xticks(range(0, len(names), every), [_shortened(name) for name in names[::every]])
    axes.tick_params(axis="x", labelrotation=90 if len(names) > 8 else 35)
    if len(names) <= 8:
        for label in axes.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")


def _shortened(name: str) -> str:
    return name if len(name) <= _LAYER_LETTERS else "…" + name[1 - _LAYER_LETTERS :]
