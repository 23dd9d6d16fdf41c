import numpy as np
import torch
from matplotlib.lines import Line2D

from retemper.certification import Certificates
from retemper.evaluation import Curve
from retemper.report.certified_plot import certified_figure
from retemper.report.svg import to_svg

CERTIFICATES = Certificates(np.array([0.0, 0.1, 0.2, 0.2, np.inf]), lipschitz=2.0)
DISTANCES = np.array([0.0, 0.15, 0.2, 0.7, np.inf])


def read(line: Line2D, radius: float) -> float:
    """What a reader sees at this radius."""
    radii, shares = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    if line.get_drawstyle() == "steps-post":
        return float(shares[radii <= radius][-1])
    return float(shares[radii >= radius][0])


def test_both_lines_tell_their_share_at_every_radius() -> None:
    curve = Curve("l2", (0.0, 1.0), DISTANCES, 0.5, closest=True, points=torch.zeros(5, 1))
    figure = certified_figure(CERTIFICATES, curve)
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    for radius in (0.0, 0.05, 0.1, 0.12, 0.15, 0.17, 0.2, 0.21, 0.4, 0.5):
        assert read(lines["certified"], radius) == CERTIFICATES.accuracy(radius)
        assert read(lines["attacked"], radius) == curve.accuracy(radius)
    svg = to_svg(figure, "name")
    assert "certified" in svg
    assert "attacked" in svg
