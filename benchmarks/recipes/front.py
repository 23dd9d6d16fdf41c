"""Robust accuracy against cost: which rows no other row beats in both, and the plot."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.recipes.measured import Row
from benchmarks.recipes.protocols import in_file_names
from benchmarks.recipes.rows import ADVERSARIAL, EVERY, RECIPE
from retemper.report.axes import share_axes
from retemper.report.svg import drawing, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of Okabe & Ito (2008), told apart with any kind of colour vision; grey is what rings.
_RECIPE, _ATTACK_FREE, _ADVERSARIAL, _RINGING = "#D55E00", "#0072B2", "#00805D", "#8A8A8A"


def front(rows: Sequence[Row], threat: str) -> set[str]:
    """The rows without an alarm that no other such row beats: at least as robust, no dearer, and better in one."""
    trusted = [row for row in rows if not row.alarms[threat]]

    def beats(one: Row, other: Row) -> bool:
        ours, theirs = (one.least(threat).mean, -one.cost), (other.least(threat).mean, -other.cost)
        return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))

    return {row.row for row in trusted if not any(beats(other, row) for other in trusted)}


def plot(rows: Sequence[Row], threat: str) -> str:
    """An SVG: a point a row with its interval, the front as a line through its rows."""
    on_front = front(rows, threat)
    with drawing():
        figure, axes = share_axes(f"{rows[0].protocol}, {threat}", "training time over plain training")
        figure.set_size_inches(7.0, 4.2)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda cost, _place: f"{cost:g}")
        line = sorted((row for row in rows if row.row in on_front), key=lambda row: row.cost)
        axes.step(
            [row.cost for row in line],
            [row.least(threat).mean for row in line],
            where="post",
            color="#BBBBBB",
            linewidth=1,
            zorder=1,
        )
        for row in rows:
            _point(axes, row, threat, filled=row.row in on_front)
        high = max(row.least(threat).interval.high for row in rows)
        axes.set_ylim(-0.03 * high, 1.08 * high)
        axes.set_yticks([tick / 10 for tick in range(11) if tick / 10 <= 1.08 * high])
        axes.set_xlim(min(row.cost for row in rows) / 1.3, max(row.cost for row in rows) * 2.2)
    return to_svg(figure, f"{rows[0].protocol}-{in_file_names(threat)}")


def _point(axes: "Axes", row: Row, threat: str, *, filled: bool) -> None:
    share = row.least(threat)
    colour = _ADVERSARIAL if row.row in ADVERSARIAL else _RECIPE if row.row in (RECIPE, EVERY) else _ATTACK_FREE
    if row.alarms[threat]:
        colour = _RINGING
    axes.vlines(row.cost, *share.interval, color=colour, linewidth=1, alpha=0.7)
    axes.plot([row.cost], [share.mean], "o", color=colour, markerfacecolor=colour if filled else "white", markersize=5)
    axes.annotate(
        row.row, (row.cost, share.mean), xytext=(5, 2), textcoords="offset points", fontsize=6.5, color="#333333"
    )
