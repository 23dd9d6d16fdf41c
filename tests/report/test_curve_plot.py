from collections.abc import Sequence

import numpy as np
import pytest
import torch
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retemper.evaluation import Curve, wilson
from retemper.evaluation.claim import parse_claim
from retemper.report.curve_plot import curve_figure
from retemper.report.svg import to_svg
from retemper.threats import L2, Linf

DISTANCES = (0.0, 0.01, 0.02, 0.02, 0.03, 0.08, 0.4, np.inf)


def make_curve(norm: str = "linf", distances: Sequence[float] = DISTANCES, reach: float = 0.1) -> Curve:
    return Curve(norm, (0.0, 1.0), np.array(distances), reach, closest=True, points=torch.zeros(len(distances), 1))


def lines(figure: Figure) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in figure.axes[0].lines}


def test_the_line_is_the_steps_of_the_curve_up_to_its_reach() -> None:
    curve = make_curve()
    line = figure_line(curve_figure(curve, [Linf(0.1)]))
    assert line.get_drawstyle() == "steps-post"
    drawn = list(zip(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist(), strict=True))
    assert drawn[:-1] == curve.steps() == [(0, 7 / 8), (0.01, 6 / 8), (0.02, 4 / 8), (0.03, 3 / 8), (0.08, 2 / 8)]
    assert drawn[-1] == (0.1, 2 / 8)


def test_the_line_never_rises_and_the_band_is_the_interval() -> None:
    curve = make_curve(distances=np.random.default_rng(0).uniform(0, 0.2, 60).tolist())
    figure = curve_figure(curve, [Linf(0.1)])
    shares = np.asarray(figure_line(figure).get_ydata())
    assert (np.diff(shares) <= 0).all()
    (band,) = [artist for artist in figure.axes[0].collections if isinstance(artist, PolyCollection)]
    corners = band.get_paths()[0].vertices
    for radius, share in curve.steps():
        here = corners[np.isclose(corners[:, 0], radius), 1]  # type: ignore[index]  # an array
        for end in wilson(round(60 * share), 60):
            assert np.isclose(here, end).any()


def test_radii_that_were_attacked_are_marked_on_the_curve_and_named() -> None:
    curve = make_curve()
    figure = curve_figure(curve, [Linf(0.1), Linf(8 / 255)])
    marked = lines(figure)["attacked"]
    np.testing.assert_allclose(np.asarray(marked.get_xdata()), [8 / 255, 0.1])
    np.testing.assert_allclose(np.asarray(marked.get_ydata()), [3 / 8, 2 / 8])
    (top,) = figure.axes[0].child_axes
    assert [label.get_text() for label in top.get_xticklabels()] == ["8/255", "0.1"]


def test_a_claim_is_a_point_and_without_one_there_is_none() -> None:
    point = lines(curve_figure(make_curve(), [Linf(0.1)], parse_claim("41%@linf:0.1")))["claim"]
    assert (point.get_xdata(), point.get_ydata()) == ([0.1], [0.41])
    assert "claim" not in lines(curve_figure(make_curve(), [Linf(0.1)]))


@pytest.mark.parametrize("distances", [[0.0, 0.0], [np.inf], [0.1, 0.1]])
def test_curves_that_fall_nowhere_or_only_at_their_end_can_be_drawn(distances: list[float]) -> None:
    curve = make_curve("l2", distances)
    figure = curve_figure(curve, [L2(0.1)])
    assert np.asarray(figure_line(figure).get_xdata())[-1] == curve.reach
    assert "L2 radius" in to_svg(figure, "a")


def figure_line(figure: Figure) -> Line2D:
    (line,) = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    return line
