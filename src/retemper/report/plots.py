"""The plots: robust accuracy against radius, and the profile of the layers."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from retemper.report import wording
from retemper.report.layers import QUANTITIES, layer_names, mean_share
from retemper.report.results import Results
from retemper.report.style import Style, styles
from retemper.report.svg import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (4.5, 3.0)  # inches: text this large can still be read where a phone shrinks the figure to its width
_LEAST_SPAN = 0.1
_LAYER_LABELS = 20  # how many fit below an axis
_LAYER_LETTERS = 16


def robustness_figures(results: Results) -> dict[str, "Figure"]:
    """Robust accuracy against radius, clean accuracy at radius 0: one figure a norm, one line an objective.

    A line is the mean over seeds; a bar at each point is its interval, moved aside a little so that bars of
    several objectives can be told apart.
    """
    rows, looks = results.rows(), styles(results.objectives)
    figures = {}
    for norm in dict.fromkeys(wording.norm(threat) for threat in results.threats()):
        threats = sorted(
            (threat for threat in results.threats() if wording.norm(threat) == norm),
            key=lambda threat: threat.radius,
        )
        radii = [0.0, *(threat.radius for threat in threats)]
        with drawing():
            figure, axes = _empty(f"{norm} threat", f"{norm} radius")
            for place, row in enumerate(rows):
                shares = [row.clean, *(row.robust[str(threat)] for threat in threats)]
                aside = (place - (len(rows) - 1) / 2) * 0.007 * radii[-1]
                places = [radius + aside for radius in radii]
                _line(axes, row.objective, places, [share.mean for share in shares], looks)
                axes.vlines(
                    places,
                    [share.interval.low for share in shares],
                    [share.interval.high for share in shares],
                    colors=looks[row.objective].colour,
                    linewidth=1,
                    alpha=0.75,
                )
            axes.set_xticks(radii, _apart(radii, ["0", *map(wording.radius, threats)]))
        figures[norm] = figure
    return figures


def profile_figures(results: Results) -> dict[str, "Figure"]:
    """What the layers keep: one figure a quantity, as a share of its maximum; one line an objective.

    Empty where no layer was profiled.
    """
    names, looks = layer_names(results.networks), styles(results.objectives)
    places = list(range(len(names)))
    every = math.ceil(len(names) / _LAYER_LABELS)
    figures: dict[str, Figure] = {}
    for quantity, title in QUANTITIES.items() if names else ():
        with drawing():
            figure, axes = _empty(title.capitalize(), "")
            for objective in results.objectives:
                shares = [mean_share(results.of(objective), name, quantity) for name in names]
                _line(axes, objective, places, shares, looks)
            _fit(axes)
            axes.set_xticks(places[::every], [_shortened(name) for name in names[::every]])
            axes.tick_params(axis="x", labelrotation=90 if len(names) > 8 else 35)
            if len(names) <= 8:
                for label in axes.get_xticklabels():
                    label.set(horizontalalignment="right", rotation_mode="anchor")
        figures[quantity] = figure
    return figures


def swatch(style: Style) -> "Figure":
    """A short piece of an objective's line, to stand beside its name."""
    from matplotlib.figure import Figure

    with drawing():
        figure = Figure(figsize=(0.5, 0.2))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(-1, 1))
        axes.plot([0.02, 0.98], [0, 0], color=style.colour, linestyle=style.line, linewidth=2)
        axes.plot([0.5], [0], color=style.colour, marker=style.marker, markersize=7)
    return figure


def _empty(title: str, label: str) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(label)
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(lambda share, _place: f"{100 * share:.3g} %")
    return figure, axes


def _fit(axes: "Axes") -> None:
    """Show the part of the scale on which the lines lie, not less than a tenth, so that noise stays small."""
    from matplotlib.ticker import MaxNLocator

    shares = [share for line in axes.lines for share in np.asarray(line.get_ydata()) if math.isfinite(share)]
    low, high = min(shares, default=0.0), max(shares, default=1.0)
    missing = max(0.0, _LEAST_SPAN - (high - low)) / 2
    low, high = max(0.0, low - missing), min(1.0, high + missing)
    margin = 0.06 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _line(
    axes: "Axes", objective: str, places: list[float] | list[int], shares: list[float], looks: Mapping[str, Style]
) -> None:
    style = looks[objective]
    axes.plot(
        places,
        shares,
        label=objective,
        color=style.colour,
        marker=style.marker,
        linestyle=style.line,
        linewidth=1.5,
        markersize=4.5,
        markeredgecolor="white",
        markeredgewidth=0.5,
    )


def _apart(places: list[float], labels: list[str]) -> list[str]:
    """The labels, from the largest place down; one that would run into the one before it or into 0 is left out."""
    least = 0.1 * places[-1]
    shown: list[str] = []
    free = math.inf
    for place, label in zip(reversed(places), reversed(labels), strict=True):
        fits = place == 0 or least <= place <= free
        shown.append(label if fits else "")
        free = place - least if fits else free
    return shown[::-1]


def _shortened(name: str) -> str:
    return name if len(name) <= _LAYER_LETTERS else "…" + name[1 - _LAYER_LETTERS :]
