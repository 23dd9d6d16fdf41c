"""The plot of robust accuracy against cost, the front marked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.recipes.front import front
from benchmarks.recipes.measured import Row
from benchmarks.recipes.protocols import in_file_names
from benchmarks.recipes.rows import ADVERSARIAL, EVERY, RECIPE
from retemper.report.axes import share_axes
from retemper.report.svg import drawing, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of Okabe & Ito (2008), told apart with any kind of colour vision; grey is what rings.
_RECIPE, _ATTACK_FREE, _ADVERSARIAL, _RINGING = "#D55E00", "#0072B2", "#00805D", "#8A8A8A"


def plot(rows: Sequence[Row], threat: str) -> str:
    """An SVG: a point a row, by our attacks, with its interval; the front as a line; names beside them."""
    on_front = front(rows, threat)
    with drawing():
        figure, axes = share_axes(f"{rows[0].protocol}, {threat}", "training time over plain training")
        figure.set_size_inches(7.0, max(4.2, 0.16 * len(rows)))
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda cost, _place: f"{cost:g}")
        line = sorted((row for row in rows if row.row in on_front), key=lambda row: row.cost)
        axes.step(
            [row.cost for row in line],
            [row.robust[threat].mean for row in line],
            where="post",
            color="#BBBBBB",
            linewidth=1,
            zorder=1,
        )
        high = max(row.robust[threat].interval.high for row in rows)
        low, high = -0.03 * high, 1.08 * high
        axes.set_ylim(low, high)
        axes.set_yticks([tick / 10 for tick in range(11) if tick / 10 <= high])
        axes.set_xlim(min(row.cost for row in rows) / 1.3, max(row.cost for row in rows) * 1.3)
        ranked = sorted(rows, key=lambda row: row.robust[threat].mean)
        places = spread([(row.robust[threat].mean - low) / (high - low) for row in ranked], gap=0.95 / len(rows))
        for row, place in zip(ranked, places, strict=True):
            _point(axes, row, threat, place, filled=row.row in on_front)
        _explain(axes)
    return to_svg(figure, f"{rows[0].protocol}-{in_file_names(threat)}")


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Rising places in [0, 1] at least so far apart, each near to where it is wanted."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + gap) if places else max(place, 0.0))
    limit = 1.0
    for index in reversed(range(len(places))):
        places[index] = min(places[index], limit)
        limit = places[index] - gap
    return places


def _point(axes: "Axes", row: Row, threat: str, place: float, *, filled: bool) -> None:
    share = row.robust[threat]
    colour = _ADVERSARIAL if row.row in ADVERSARIAL else _RECIPE if row.row in (RECIPE, EVERY) else _ATTACK_FREE
    if row.alarms[threat]:
        colour = _RINGING
    axes.vlines(row.cost, *share.interval, color=colour, linewidth=1, alpha=0.7)
    face = colour if filled else "white"
    axes.plot([row.cost], [share.mean], "o", color=colour, markerfacecolor=face, markersize=5)
    if (official := row.official[threat]) is not None:
        axes.plot([row.cost], [official.mean], "_", color=colour, markersize=8)
    axes.annotate(
        row.row,
        (row.cost, share.mean),
        xytext=(1.03, place),
        textcoords="axes fraction",
        verticalalignment="center",
        fontsize=6.5,
        color=colour,
        arrowprops={
            "arrowstyle": "-",
            "color": colour,
            "alpha": 0.25,
            "linewidth": 0.6,
            "relpos": (0, 0.5),
            "shrinkA": 1,
            "shrinkB": 3,
        },
    )


def _explain(axes: "Axes") -> None:
    from matplotlib.lines import Line2D

    meanings = [
        ("the recipe", "o", _RECIPE, _RECIPE),
        ("without attacks", "o", _ATTACK_FREE, _ATTACK_FREE),
        ("adversarial training", "o", _ADVERSARIAL, _ADVERSARIAL),
        ("an alarm rings", "o", _RINGING, _RINGING),
        ("on the front", "o", "#333333", "#333333"),
        ("not on the front", "o", "#333333", "white"),
        ("AutoAttack, too", "_", "#333333", "#333333"),
    ]
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markerfacecolor=face, markersize=5, label=label)
        for label, marker, colour, face in meanings
    ]
    axes.figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=6.5, frameon=False)
