import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from retemper.information.resampling import Estimate, weights


def mean_over(values: Tensor, seed: int = 0, replicates: int = 200) -> Estimate:
    drawn = weights(torch.arange(len(values)), replicates, seed).double()
    return Estimate.of((values @ drawn) / drawn.sum(0))


def test_every_image_counts_once_in_the_figure_and_as_a_poisson_variable_in_the_replicates() -> None:
    drawn = weights(torch.arange(500), 400, seed=3)
    assert drawn.shape == (500, 401)
    assert bool((drawn[:, 0] == 1).all())
    counts = np.bincount(drawn[:, 1:].flatten().int().numpy(), minlength=10)
    expected = scipy.stats.poisson(1).pmf(range(7)) * 500 * 400
    assert (
        scipy.stats.chisquare([*counts[:7], counts[7:].sum()], [*expected, 500 * 400 - expected.sum()]).pvalue > 0.001
    )
    # One image's weights say nothing of another's, nor one replicate's of the next.
    for correlations in (np.corrcoef(drawn[:30, 1:]), np.corrcoef(drawn[:, 1:31].T)):
        assert np.abs(correlations - np.eye(30)).max() < 0.25


def test_weights_hang_on_the_seed_and_the_images_number_alone() -> None:
    before = torch.random.get_rng_state()
    whole = weights(torch.arange(20), 50, seed=1)
    torch.testing.assert_close(weights(torch.arange(7, 12), 50, seed=1), whole[7:12], rtol=0, atol=0)
    torch.testing.assert_close(weights(torch.arange(20), 40, seed=1), whole[:, :41], rtol=0, atol=0)
    assert not torch.equal(weights(torch.arange(20), 50, seed=2), whole)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_interval_of_a_mean_is_that_of_the_textbook() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(400, generator=generator, dtype=torch.float64)
    estimate = mean_over(values, replicates=2000)
    assert estimate.value == pytest.approx(float(values.mean()))
    half = 1.96 * float(values.std()) / 20
    assert estimate.interval.low == pytest.approx(estimate.value - half, abs=0.06 * half)
    assert estimate.interval.high == pytest.approx(estimate.value + half, abs=0.06 * half)


def test_the_interval_covers_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(1)
    draws = torch.rand(400, 60, generator=generator, dtype=torch.float64)
    ends = [mean_over(values, seed).interval for seed, values in enumerate(draws)]
    covered = sum(low <= 0.5 <= high for low, high in ends) / len(ends)
    assert 0.91 <= covered <= 0.98


def test_the_figure_is_the_mean_of_the_replicates() -> None:
    estimate = Estimate.of(torch.tensor([5.0, 1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_allclose(estimate.replicates, [3.5, 4.5, 5.5, 6.5])
    assert estimate.interval == pytest.approx((3.575, 6.425))


def test_resamples_without_any_image_are_left_out() -> None:
    estimate = mean_over(torch.tensor([3.0], dtype=torch.float64))
    assert np.isnan(estimate.replicates).any()
    assert estimate.interval == (3, 3)


def test_a_difference_is_taken_resample_by_resample() -> None:
    generator = torch.Generator().manual_seed(2)
    values = torch.rand(100, generator=generator, dtype=torch.float64)
    same = mean_over(values) - mean_over(values)
    assert (same.value, same.interval) == (0, (0, 0))
    shifted = mean_over(values + 1) - mean_over(values)
    assert shifted.interval == pytest.approx((1, 1))
    apart = (mean_over(values, seed=0) - mean_over(values, seed=1)).interval
    assert apart.high - apart.low > 0.05


def test_dividing_scales_figure_and_interval() -> None:
    estimate = mean_over(torch.arange(10.0, dtype=torch.float64))
    low, high = estimate.interval
    assert (estimate / 4).value == estimate.value / 4
    assert (estimate / 4).interval == pytest.approx((low / 4, high / 4))
