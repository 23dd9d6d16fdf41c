"""The plots: robust accuracy against radius, and the profile of the layers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from retemper.information import QUANTITIES
from retemper.report import wording
from retemper.report.axes import apart, fit, name_layers, share_axes
from retemper.report.layers import layer_names, mean_share
from retemper.report.results import Results
from retemper.report.style import Style, styles
from retemper.report.svg import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    figures: dict[str, Figure] = {}
    for quantity, title in QUANTITIES.items() if names else ():
        with drawing():
            figure, axes = share_axes(title.capitalize(), "")
            for objective in results.objectives:
                shares = [mean_share(results.of(objective), name, quantity) for name in names]
                _line(axes, objective, places, shares, looks)
            fit(axes)
            name_layers(axes, names)
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
