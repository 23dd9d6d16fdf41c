import pytest
import torch

from retemper.errors import SettingError
from retemper.studies.low_rank import LowRank, low_rank_points, run
from retemper.studies.low_rank_plot import low_rank_figure


@pytest.fixture(scope="module")
def study() -> LowRank:
    return run(1, offsets=(0.0, 1.0, 30.0), shifts=(0.0, 10.0))


def test_differential_training_reaches_the_svm_and_cross_entropy_its_limit(study: LowRank) -> None:
    assert len(study.cells) == 6
    assert study.differential_misses < 1e-5
    assert study.cross_entropy_misses < 0.02


def test_cross_entropy_needs_both_an_offset_and_a_shift_to_be_led_astray(study: LowRank) -> None:
    for offset, shift in ((0.0, 0.0), (0.0, 10.0), (1.0, 0.0), (30.0, 0.0)):
        assert study.share("cross_entropy", offset, shift) > 0.95
    assert study.share("cross_entropy", 1.0, 10.0) < 0.25
    # A larger offset does the work of the bias at a smaller weight.
    assert study.share("cross_entropy", 30.0, 10.0) > 0.9


def test_the_svm_does_not_see_where_the_points_lie(study: LowRank) -> None:
    margins = [cell.svm for cell in study.cells]
    assert margins == pytest.approx([margins[0]] * len(margins), rel=1e-6)


def test_points_vary_in_three_dimensions_around_the_offset() -> None:
    points, labels = low_rank_points(0, 3.0, 10.0)
    assert torch.linalg.matrix_rank(points - points.mean(0)) == 3
    assert labels.bincount().tolist() == [50, 50]
    assert torch.equal(points, low_rank_points(0, 3.0, 10.0)[0])
    moved, _ = low_rank_points(0, 0.0, 0.0)
    difference = points - moved
    assert (difference - difference[0]).abs().max() < 1e-12
    assert float(difference[0].norm()) == pytest.approx(109**0.5)


def test_the_plot_has_a_line_a_shift_and_one_of_differential_training(study: LowRank) -> None:
    figure = low_rank_figure(study)
    lines = figure.axes[0].lines
    assert len(lines) == 1 + 2 * 2
    assert list(lines[0].get_ydata()) == pytest.approx([1, 1, 1], abs=1e-5)
    assert list(lines[3].get_ydata()) == pytest.approx([study.share("limit", offset, 10.0) for offset in study.offsets])


def test_no_seed_is_an_error() -> None:
    with pytest.raises(SettingError, match="1 seed or more, but got 0"):
        run(0)
