"""The plot of a curve: robust accuracy against every radius of one norm."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retemper.evaluation import Claim, Curve
from retemper.report import wording
from retemper.report.axes import apart, share_axes
from retemper.report.svg import drawing
from retemper.threats import Threat

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINE, _CLAIM = "#0072B2", "#B33A00"


def curve_figure(curve: Curve, threats: Sequence[Threat], claim: Claim | None = None) -> "Figure":
    """The curve as steps with the band of its Wilson intervals, and a circle at every radius that was attacked.

    Args:
        curve: of one norm.
        threats: those of this norm that were attacked; their radii are named along the top.
        claim: on this norm; drawn as a point, below which the curve refutes it.
    """
    steps = curve.steps()
    if steps[-1][0] < curve.reach:
        steps.append((curve.reach, steps[-1][1]))
    radii = [radius for radius, _ in steps]
    intervals = [curve.interval(radius) for radius in radii]
    attacked = sorted(threat.radius for threat in threats)
    labels = [wording.radius(threat) for threat in sorted(threats, key=lambda threat: threat.radius)]
    norm = wording.norm(threats[0])
    with drawing():
        figure, axes = share_axes(f"{norm} threat", f"{norm} radius")
        axes.fill_between(
            radii,
            [ends.low for ends in intervals],
            [ends.high for ends in intervals],
            step="post",
            color=_LINE,
            alpha=0.16,
            linewidth=0,
        )
        axes.plot(radii, [share for _, share in steps], color=_LINE, drawstyle="steps-post", linewidth=1.5)
        axes.plot(
            attacked,
            [curve.accuracy(radius) for radius in attacked],
            label="attacked",
            linestyle="none",
            marker="o",
            markersize=5.5,
            markerfacecolor="white",
            markeredgecolor=_LINE,
            markeredgewidth=1.5,
        )
        if claim is not None:
            axes.plot(
                [claim.threat.radius], [claim.accuracy], label="claim", linestyle="none", marker="D", color=_CLAIM
            )
        axes.set_xlim(0, 1.04 * curve.reach)
        top = axes.secondary_xaxis("top")
        top.set_xticks(attacked, apart(attacked, labels))
        top.tick_params(length=2.5, pad=2)
        top.spines["top"].set_visible(False)
    return figure
