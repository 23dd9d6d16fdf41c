import math
import re
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from retemper.report.plots import profile_figures, robustness_figures, swatch
from retemper.report.results import Results
from retemper.report.style import styles
from retemper.report.svg import to_svg

Make = Callable[..., Results]


def _ticks(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


def test_each_norm_has_a_figure_with_one_line_an_objective(make_results: Make) -> None:
    figures = robustness_figures(make_results())
    assert list(figures) == ["L∞", "L2"]
    for figure in figures.values():
        assert [line.get_label() for line in figure.axes[0].lines] == ["plain", "entropic", "pgd"]
    assert _ticks(figures["L∞"]) == ["0", "0.05", "0.1"]
    assert _ticks(figures["L2"]) == ["0", "0.5"]


def test_lines_go_through_clean_and_robust_accuracy_and_bars_are_the_intervals(make_results: Make) -> None:
    results = make_results(threats=("linf:0.1", "l2:0.5", "linf:0.05"))
    axes = robustness_figures(results)["L∞"].axes[0]
    bars = [artist for artist in axes.collections if isinstance(artist, LineCollection)]
    for row, line, bar in zip(results.rows(), axes.lines, bars, strict=True):
        shares = [row.clean, row.robust["linf:0.05"], row.robust["linf:0.1"]]
        np.testing.assert_allclose(np.asarray(line.get_ydata()), [share.mean for share in shares])
        np.testing.assert_allclose(np.asarray(line.get_xdata()), [0, 0.05, 0.1], atol=0.001)
        ends = [tuple(segment[:, 1]) for segment in bar.get_segments()]
        np.testing.assert_allclose(ends, [share.interval for share in shares])
        assert (
            line.get_color() == to_hex(bar.get_color()[0]).upper() == styles(results.objectives)[row.objective].colour
        )


def test_labels_of_crowded_radii_do_not_run_into_each_other(make_results: Make) -> None:
    results = make_results(threats=("linf:1/255", "linf:2/255", "linf:3/255", "linf:8/255", "linf:32/255"))
    assert _ticks(robustness_figures(results)["L∞"]) == ["0", "", "", "", "8/255", "32/255"]


def test_one_threat_and_one_seed_are_enough(make_results: Make) -> None:
    (figure,) = robustness_figures(make_results(threats=("l2:1",), seeds=(0,))).values()
    assert len(figure.axes[0].lines[0].get_xdata()) == 2


def test_the_profile_has_a_figure_for_each_quantity_with_the_layers_in_order(make_results: Make) -> None:
    results = make_results()
    figures = profile_figures(results)
    assert list(figures) == ["activation_entropy", "unit_entropy", "renyi_entropy", "effective_rank", "active"]
    for quantity, figure in figures.items():
        assert _ticks(figure) == ["conv1_act", "dense1_act"]
        for line, objective in zip(figure.axes[0].lines, results.objectives, strict=True):
            assert line.get_label() == objective
            first = [network.layers[0] for network in results.of(objective)]
            expected = sum(getattr(layer, quantity) / layer.maxima[quantity] for layer in first) / len(first)
            assert np.asarray(line.get_ydata())[0] == pytest.approx(expected)


def test_layers_that_a_network_lacks_are_gaps(make_results: Make) -> None:
    results = make_results(seeds=(0,))
    first, *others = results.networks
    results = replace(results, networks=(replace(first, layers=first.layers[:1]), *others))
    shares = np.asarray(profile_figures(results)["active"].axes[0].lines[0].get_ydata())
    assert math.isfinite(shares[0])
    assert math.isnan(shares[1])


def test_without_profiles_there_are_no_figures(make_results: Make) -> None:
    assert profile_figures(make_results(layers=())) == {}


def test_many_layers_with_long_names_still_fit(make_results: Make) -> None:
    names = [f"features.denseblock{block}.denselayer{layer}.relu" for block in range(4) for layer in range(16)]
    figure = profile_figures(make_results(layers=names))["active"]
    assert len(_ticks(figure)) <= 20
    assert all(len(label) <= 16 for label in _ticks(figure))
    assert _ticks(figure)[0] == "…denselayer0.relu"[:1] + names[0][-15:]


def test_the_axis_shows_every_line_and_does_not_blow_up_noise(make_results: Make) -> None:
    results = make_results(seeds=(0,))
    low, high = profile_figures(results)["unit_entropy"].axes[0].get_ylim()
    shares = [layer.unit_entropy / math.log(2) for network in results.networks for layer in network.layers]
    assert low < min(shares)
    assert max(shares) < high
    level = [replace(n, layers=tuple(replace(layer, active=0.7) for layer in n.layers)) for n in results.networks]
    low, high = profile_figures(replace(results, networks=tuple(level)))["active"].axes[0].get_ylim()
    assert high - low >= 0.1


def test_the_same_results_give_the_same_svg(make_results: Make) -> None:
    first, second = (
        [to_svg(figure, "a") for figure in (*robustness_figures(r).values(), *profile_figures(r).values())]
        for r in (make_results(), make_results())
    )
    assert first == second
    assert not re.search(r"<dc:|metadata|20\d\d-\d\d-\d\d", first[0])


def test_settings_of_the_process_neither_show_nor_change(make_results: Make) -> None:
    before = to_svg(robustness_figures(make_results())["L2"], "a")
    with matplotlib.rc_context({"font.size": 30, "xtick.direction": "in", "svg.hashsalt": None}):
        settings = dict(matplotlib.rcParams)
        assert to_svg(robustness_figures(make_results())["L2"], "a") == before
        assert dict(matplotlib.rcParams) == settings


def test_identifiers_of_two_figures_in_one_page_differ_and_references_hold(make_results: Make) -> None:
    figures = robustness_figures(make_results())
    one, two = to_svg(figures["L∞"], "one"), to_svg(figures["L2"], "two")
    ids = [set(re.findall(r' id="([^"]*)"', text)) for text in (one, two)]
    assert not ids[0] & ids[1]
    for text, known in zip((one, two), ids, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', text)) <= known


@pytest.mark.parametrize("name", ["<b>", "_hidden", "$x_2$", 'id="x"', "a & b"])
def test_names_are_drawn_as_they_are(make_results: Make, name: str) -> None:
    results = make_results(objectives=("plain", name), layers=(name, "act"))
    figure = profile_figures(results)["active"]
    assert len(figure.axes[0].lines) == 2
    texts = [element.text for element in ElementTree.fromstring(to_svg(figure, "a")).iter() if element.text]
    assert name in texts


def test_a_swatch_shows_the_objectives_colour() -> None:
    style = styles(["pgd"])["pgd"]
    assert style.colour.lower() in to_svg(swatch(style), "s").lower()
