from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from retemper.information import QUANTITIES, LayerProfile, changes, difference
from retemper.report.profile_plot import profile_figure
from retemper.report.style import styles
from retemper.report.svg import to_svg


def layer(name: str, units: int = 50, seed: int = 0) -> LayerProfile:
    generator = np.random.default_rng(seed)
    values = dict(zip(QUANTITIES, generator.uniform(0.2, 0.6, 5), strict=True))
    replicates = {quantity: value + generator.normal(0, 0.02, 80) for quantity, value in values.items()}
    return LayerProfile(name, units, 40, 30, **values, replicates=replicates)  # type: ignore[arg-type]  # floats all


OURS = [layer("conv1_act", 60, seed=1), layer("conv2_act", 20, seed=2), layer("dense1_act", 9, seed=3)]
THEIRS = [layer("conv1_act", 60, seed=4), layer("conv2_act", 20, seed=5), layer("dense1_act", 9, seed=6)]


@pytest.fixture(scope="module")
def figure() -> Figure:
    return profile_figure({"pgd": OURS, "plain": THEIRS}, difference(OURS, THEIRS), "pgd minus plain, points")


def bars(figure: Figure, panel: int, place: int = 0) -> list[tuple[float, float]]:
    """The ends of the intervals drawn in a panel."""
    found = [artist for artist in figure.axes[panel].collections if isinstance(artist, LineCollection)]
    return [tuple(segment[:, 1]) for segment in found[place].get_segments()]


def test_each_quantity_has_its_shares_on_the_left_with_their_intervals(figure: Figure) -> None:
    assert len(figure.axes) == 2 * len(QUANTITIES)
    for row, (quantity, title) in enumerate(QUANTITIES.items()):
        axes = figure.axes[2 * row]
        assert axes.get_title(loc="left").lower() == f"{title}, share of maximum".lower()
        assert [line.get_label() for line in axes.lines] == ["pgd", "plain"]
        for place, (line, layers) in enumerate(zip(axes.lines, (OURS, THEIRS), strict=True)):
            maxima = [each.maxima[quantity] for each in layers]
            shares = [getattr(each, quantity) / most for each, most in zip(layers, maxima, strict=True)]
            np.testing.assert_allclose(np.asarray(line.get_ydata()), shares)
            np.testing.assert_allclose(np.asarray(line.get_xdata()), [0, 1, 2], atol=0.1)
            ends = [np.divide(each.interval(quantity), most) for each, most in zip(layers, maxima, strict=True)]
            np.testing.assert_allclose(bars(figure, 2 * row, place), ends)
            assert line.get_color() == styles(["pgd", "plain"])[str(line.get_label())].colour


def test_differences_stand_on_the_right_with_their_intervals(figure: Figure) -> None:
    for row, quantity in enumerate(QUANTITIES):
        axes = figure.axes[2 * row + 1]
        assert axes.get_title(loc="left") == "pgd minus plain, points"
        expected = [each.shares[quantity] for each in difference(OURS, THEIRS)]
        np.testing.assert_allclose([bar.get_height() for bar in axes.patches], [each.value for each in expected])
        np.testing.assert_allclose(bars(figure, 2 * row + 1), [each.interval for each in expected])
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == [each.layer for each in OURS]


def test_changes_of_one_network_stand_at_the_layer_that_they_lead_to() -> None:
    figure = profile_figure({"plain": OURS}, changes(OURS), "Change from the layer before, points")
    centres = [bar.get_x() + bar.get_width() / 2 for bar in figure.axes[1].patches]
    np.testing.assert_allclose(centres, [1, 2])
    assert not figure.legends


def test_a_maximum_of_zero_has_no_share_to_draw() -> None:
    single = [OURS[0], layer("score", units=1)]
    figure = profile_figure({"plain": single}, changes(single), "change")
    assert len(figure.axes[0].lines[0].get_xdata()) == 1
    assert len(figure.axes[1].patches) == 0
    assert len(figure.axes[2].lines[0].get_xdata()) == 2


def test_one_layer_is_enough() -> None:
    assert "<svg" in to_svg(profile_figure({"plain": OURS[:1]}, [], "change"), "profile")


@pytest.mark.parametrize("name", ["<b>", "_hidden", "$x_2$", "a & b"])
def test_names_are_drawn_as_they_are(name: str) -> None:
    ours, theirs = [layer(name)], [layer(name, seed=1)]
    figure = profile_figure({name: ours, "plain": theirs}, difference(ours, theirs), "minus")
    texts = [element.text for element in ElementTree.fromstring(to_svg(figure, "a")).iter() if element.text]
    assert texts.count(name) >= 2
