"""The plot of certified and attacked accuracy against the radius: what is true lies between."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from retemper.certification import Certificates
from retemper.evaluation import Curve
from retemper.report.axes import share_axes
from retemper.report.svg import drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ATTACKED, _CERTIFIED = "#0072B2", "#009E73"


def certified_figure(certificates: Certificates, curve: Curve) -> "Figure":
    """Both as steps, up to the largest radius attacked, with what neither settles shaded between them."""
    radii = breaks(certificates, curve)
    certified = [certificates.accuracy(radius) for radius in radii]
    attacked = [curve.accuracy(radius) for radius in radii]
    with drawing():
        figure, axes = share_axes("Certified and attacked", "L2 radius")
        # A certificate holds up to its radius, that radius included; an image falls at the radius where it is broken.
        axes.plot(radii, attacked, label="attacked", color=_ATTACKED, drawstyle="steps-post", linewidth=1.5)
        axes.plot(radii, certified, label="certified", color=_CERTIFIED, drawstyle="steps-pre", linewidth=1.5)
        axes.fill_between(radii, certified, attacked, color="#767676", alpha=0.14, linewidth=0)
        axes.set_xlim(0, 1.04 * curve.reach)
        axes.legend(frameon=False, loc="upper right")
    return figure


def breaks(certificates: Certificates, curve: Curve) -> Sequence[float]:
    """The radii from 0 to the curve's reach at which one of the two falls."""
    both = np.concatenate([certificates.radii, curve.distances, [0.0, curve.reach]])
    return np.unique(both[both <= curve.reach]).tolist()
