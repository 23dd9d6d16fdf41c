"""The plots: robust accuracy against radius, and the profile of the layers."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from retemper.report import wording
from retemper.report.axes import apart, share_axes
from retemper.report.layers import QUANTITIES, layer_names, mean_share
from retemper.report.results import Results
from retemper.report.style import Style, styles
from retemper.report.svg import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
            figure, axes = share_axes(f"{norm} threat", f"{norm} radius")
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
            axes.set_xticks(radii, apart(radii, ["0", *map(wording.radius, threats)]))
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
            figure, axes = share_axes(title.capitalize(), "")
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


def _shortened(name: str) -> str:
    return name if len(name) <= _LAYER_LETTERS else "…" + name[1 - _LAYER_LETTERS :]
