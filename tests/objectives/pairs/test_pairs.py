"""The mean over all pairs against plain loops, by one sort and by looking at each pair, and what any of it obeys."""

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from retemper.errors import SettingError
from retemper.objectives.pairs import PAIR_LOSSES, pair_loss

LOSSES = list(PAIR_LOSSES)
WAYS = ["sorted", "each"]
# Multiples of 2^-20, whose differences float64 holds exactly: at the hinge's corner rounding alone turns the slope.
fine = st.integers(-30 * 2**20, 30 * 2**20).map(lambda number: number / 2**20)
scores = st.lists(fine | st.integers(-2, 2).map(float), min_size=1, max_size=12)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways at any number of pairs."""
    for name, loss in PAIR_LOSSES.items():
        few = 0 if request.param == "sorted" else 10**12
        monkeypatch.setitem(PAIR_LOSSES, name, loss._replace(few=few))
    return request.param


def difference(one: float, other: float) -> float:
    """One minus the other, rounded once."""
    return float(Fraction(one) - Fraction(other))


def value_and_slope(loss: str, t: float) -> tuple[float, float]:
    """The loss of one difference, and how fast it falls."""
    if loss == "logistic":
        small = math.exp(-abs(t))
        return max(-t, 0.0) + math.log1p(small), (small if t > 0 else 1.0) / (1 + small)
    short = max(1 - t, 0.0)
    return (short, float(short > 0)) if loss == "hinge" else (short * short, 2 * short)


def by_loops(positive: list[float], negative: list[float], loss: str) -> tuple[float, list[float], list[float]]:
    """The mean over pairs, and its gradient."""
    pairs = len(positive) * len(negative)
    table = [[value_and_slope(loss, difference(p, n)) for n in negative] for p in positive]
    return (
        math.fsum(value for row in table for value, _ in row) / pairs,
        [-math.fsum(slope for _, slope in row) / pairs for row in table],
        [math.fsum(row[j][1] for row in table) / pairs for j in range(len(negative))],
    )


def found(
    positive: list[float], negative: list[float], loss: str, dtype: torch.dtype = torch.float64
) -> tuple[float, list[float], list[float]]:
    """The same by `pair_loss` and autograd."""
    ours = [torch.tensor(side, dtype=dtype, requires_grad=True) for side in (positive, negative)]
    total = pair_loss(*ours, loss)
    gradients = torch.autograd.grad(total, ours)
    assert total.dtype == dtype
    assert all(gradient.dtype == dtype for gradient in gradients)
    return total.item(), gradients[0].tolist(), gradients[1].tolist()


def agree(
    one: tuple[float, list[float], list[float]], other: tuple[float, list[float], list[float]], rel: float = 1e-8
) -> None:
    """Every number has so many digits of the other's, however small it is."""
    for mine, theirs in zip([one[0], *one[1], *one[2]], [other[0], *other[1], *other[2]], strict=True):
        assert mine == pytest.approx(theirs, rel=rel, abs=1e-300)


def drawn(count: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(count, generator=generator, dtype=torch.float64) + shift).tolist()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (3, 2), (100, 0), (1e4, 0), (1e-8, 0), (1e-8, 1e4), (1, -40)])
@pytest.mark.parametrize(("positives", "negatives"), [(7, 90), (90, 7), (1, 200), (200, 1), (1, 1), (40, 40)])
def test_value_and_every_entry_of_the_gradient_are_those_of_a_plain_loop(
    loss: str, scale: float, shift: float, positives: int, negatives: int, way: str
) -> None:
    positive, negative = drawn(positives, 0, scale, shift), drawn(negatives, 1, scale)
    agree(found(positive, negative, loss), by_loops(positive, negative, loss))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_tiny_entry_of_the_gradient_is_as_exact_as_a_large_one(loss: str, way: str) -> None:
    positive, negative = [0.0, 40.0, 300.0, 600.0], [-600.0, -1.0, 1e-8, 20.0]
    ours = found(positive, negative, loss)
    agree(ours, by_loops(positive, negative, loss))
    if loss == "logistic":
        assert 0 < ours[2][0] < 1e-250


@pytest.mark.parametrize("loss", LOSSES)
def test_clusters_far_apart_keep_what_is_between_neighbours(loss: str, way: str) -> None:
    centres = [-1e12, -1e4, 0.0, 1e4, 1e12]
    positive = [centre + offset for centre in centres for offset in (0.0, 0.25, 0.5)]
    negative = [centre + offset for centre in centres for offset in (0.0, 0.5, 1.5)]
    agree(found(positive, negative, loss), by_loops(positive, negative, loss))


@pytest.mark.parametrize("loss", LOSSES)
def test_scores_near_the_largest_float_overflow_nowhere(loss: str, way: str) -> None:
    for positive, negative in ([1e150], [-1e150]), ([-1e150], [1e150]), ([1e150, 0.0], [-1e150, 1.0]):
        value, of_positive, of_negative = found(positive, negative, loss)
        expected = by_loops(positive, negative, loss)
        agree((value, of_positive, of_negative), expected)
        assert math.isfinite(value)


@pytest.mark.parametrize("loss", LOSSES)
def test_pairs_just_at_the_margin_or_tied_count_like_anywhere_else(loss: str, way: str) -> None:
    positive, negative = [0.0, 0.0, 1.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 1.0, 2.0, 2.0]
    agree(found(positive, negative, loss), by_loops(positive, negative, loss))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("positives", "negatives"), [(0, 3), (3, 0), (0, 0)])
def test_without_a_pair_the_loss_is_zero_and_so_is_its_gradient(
    loss: str, positives: int, negatives: int, way: str
) -> None:
    positive, negative = [1.0, math.nan, math.inf][:positives], [1.0, math.nan, -math.inf][:negatives]
    assert found(positive, negative, loss) == (0.0, [0.0] * positives, [0.0] * negatives)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_float64_is_inside_whatever_the_scores_are(loss: str, dtype: torch.dtype, way: str) -> None:
    positive, negative = (torch.tensor(drawn(60, seed)).to(dtype).double().tolist() for seed in (0, 1))
    agree(found(positive, negative, loss, dtype), by_loops(positive, negative, loss), rel=torch.finfo(dtype).eps)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_score_that_is_no_number_shows(loss: str, way: str) -> None:
    assert math.isnan(pair_loss(torch.tensor([0.0, math.nan]), torch.tensor([1.0, 2.0]), loss).item())
    assert math.isnan(pair_loss(torch.tensor([0.0, 1.0]), torch.tensor([math.nan, 2.0]), loss).item())


@pytest.mark.parametrize("loss", LOSSES)
def test_gradcheck(loss: str, way: str) -> None:
    # No two scores are tied or a margin apart, where the hinges have a corner.
    positive, negative = torch.tensor(drawn(5, 3)).double(), torch.tensor(drawn(4, 4)).double()
    inputs = [side.requires_grad_() for side in (positive, negative)]
    assert torch.autograd.gradcheck(lambda p, n: 3 * pair_loss(p, n, loss), inputs)


def test_of_many_pairs_a_second_derivative_is_refused_and_of_few_it_is_true() -> None:
    positive, negative = torch.randn(400, requires_grad=True), torch.randn(400)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(pair_loss(positive, negative), positive, create_graph=True)
    few = [torch.tensor(drawn(4, seed)).double().requires_grad_() for seed in (0, 1)]
    assert torch.autograd.gradgradcheck(pair_loss, few)


@pytest.mark.parametrize("loss", LOSSES)
def test_many_pairs_are_what_few_are(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    positive, negative = drawn(1200, 0), drawn(700, 1)
    assert len(positive) * len(negative) > PAIR_LOSSES[loss].few
    by_one_sort = found(positive, negative, loss)
    monkeypatch.setitem(PAIR_LOSSES, loss, PAIR_LOSSES[loss]._replace(few=10**12))
    agree(by_one_sort, found(positive, negative, loss))


def test_an_unknown_loss_is_named() -> None:
    with pytest.raises(SettingError, match="one of logistic, hinge, squared-hinge, but got 'exponential'"):
        pair_loss(torch.zeros(1), torch.zeros(1), "exponential")


def law(test: Callable[..., None]) -> Callable[..., None]:
    """A law that every loss obeys by one sort, for any scores."""

    def run(loss: str, data: st.DataObject) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(PAIR_LOSSES, loss, PAIR_LOSSES[loss]._replace(few=0))
            test(loss, data.draw(scores), data.draw(scores), data)

    run.__name__ = test.__name__
    return pytest.mark.parametrize("loss", LOSSES)(settings(deadline=None, max_examples=50)(given(data=st.data())(run)))


@law
def test_any_scores_agree_with_a_plain_loop(
    loss: str, positive: list[float], negative: list[float], data: st.DataObject
) -> None:
    agree(found(positive, negative, loss), by_loops(positive, negative, loss))


@law
def test_the_order_does_not_matter(
    loss: str, positive: list[float], negative: list[float], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(positive))))
    value, of_positive, of_negative = found(positive, negative, loss)
    shuffled = found([positive[index] for index in order], negative, loss)
    agree(shuffled, (value, [of_positive[index] for index in order], of_negative), rel=1e-12)


@law
def test_what_is_added_to_all_scores_does_not_matter(
    loss: str, positive: list[float], negative: list[float], data: st.DataObject
) -> None:
    shift = data.draw(st.integers(-1000, 1000))
    positive, negative = ([round(score * 8) / 8 for score in side] for side in (positive, negative))
    shifted = found([score + shift for score in positive], [score + shift for score in negative], loss)
    agree(shifted, found(positive, negative, loss), rel=1e-12)


@law
def test_turning_the_signs_round_swaps_the_classes(
    loss: str, positive: list[float], negative: list[float], data: st.DataObject
) -> None:
    value, of_positive, of_negative = found([-score for score in negative], [-score for score in positive], loss)
    swapped = (value, [-slope for slope in of_negative], [-slope for slope in of_positive])
    agree(swapped, found(positive, negative, loss), rel=1e-12)


@law
def test_raising_a_positive_never_costs(
    loss: str, positive: list[float], negative: list[float], data: st.DataObject
) -> None:
    raised = [positive[0] + abs(data.draw(fine)), *positive[1:]]
    before, after = found(positive, negative, loss), found(raised, negative, loss)
    assert after[0] <= before[0] * (1 + 1e-9)
    assert all(slope <= 0 for slope in before[1])
    assert all(slope >= 0 for slope in before[2])


@law
def test_the_gradients_of_both_classes_cancel(
    loss: str, positive: list[float], negative: list[float], data: st.DataObject
) -> None:
    _, of_positive, of_negative = found(positive, negative, loss)
    assert math.fsum(of_positive) == pytest.approx(-math.fsum(of_negative), rel=1e-8, abs=1e-300)


def test_the_scores_are_left_as_they_were(way: str) -> None:
    positive, negative = torch.randn(9), torch.randn(8)
    kept: list[Tensor] = [positive.clone(), negative.clone()]
    pair_loss(positive, negative, "hinge")
    assert torch.equal(positive, kept[0])
    assert torch.equal(negative, kept[1])
