import math

import numpy as np
import pytest

from retemper.tuning.search import STEP, Trial, best_of, chosen, following


def search(peak: float, *, first: float, tries: int, allowed: float = math.inf) -> list[float]:
    """The weights tried where robust accuracy peaks at one and clean accuracy is lost above another."""
    trials = [Trial(0.0, 0.99, 0.1)]
    for _ in range(tries):
        weight = following(trials, 0.98, first)
        robust = 0.6 - 0.1 * abs(math.log(weight / peak))
        trials.append(Trial(weight, 0.99 if weight <= allowed else 0.9, robust))
    return [trial.weight for trial in trials[1:]]


@pytest.mark.parametrize("peak", [0.002, 0.01, 0.03, 0.05, 0.08, 0.2, 1.0])
def test_five_tries_come_within_a_factor_of_two_of_a_peak_not_too_far(peak: float) -> None:
    weights = search(peak, first=0.05, tries=5)
    assert weights[0] == 0.05
    assert len(set(weights)) == 5
    assert min(abs(math.log(weight / peak)) for weight in weights) < math.log(2)


def test_a_peak_at_the_first_weight_is_closed_in_from_both_sides() -> None:
    weights = search(0.05, first=0.05, tries=5)
    assert weights[1:3] == [0.05 * STEP, 0.05 / STEP]
    assert all(0.05 / STEP < weight < 0.05 * STEP for weight in weights[3:])


def test_where_clean_accuracy_is_lost_the_search_goes_down() -> None:
    weights = search(1.0, first=0.05, tries=5, allowed=0.004)
    assert weights[:3] == pytest.approx([0.05, 0.05 / STEP, 0.05 / STEP**2])
    assert min(weights) < 0.004


def test_the_best_keeps_clean_accuracy_and_of_none_it_is_the_cleanest() -> None:
    kept, robust, cleaner = Trial(0.1, 0.97, 0.5), Trial(1.0, 0.9, 0.8), Trial(0.5, 0.95, 0.7)
    assert best_of([kept, robust, cleaner], floor=0.96) is kept
    assert best_of([robust, cleaner], floor=0.96) is cleaner
    assert best_of([kept, robust, cleaner], floor=0.0) is robust


def stood(*images: float) -> np.ndarray:
    return np.array(images)


@pytest.mark.parametrize(
    ("gained", "lost", "place"),
    [
        (1, 0, 1),  # 0.01 against twice 0.01
        (4, 0, 1),  # 0.04 against twice 0.02
        (5, 0, 2),  # 0.05 against twice 0.0224
        (9, 4, 1),  # 0.05 against twice 0.036
        (13, 4, 2),  # 0.09 against twice 0.0412
    ],
)
def test_another_weight_than_the_first_needs_more_than_two_standard_errors(gained: int, lost: int, place: int) -> None:
    first = np.repeat([0.0, 1.0], [40, 60])
    other = first.copy()
    other[:gained], other[-lost or 100 :] = 1.0, 0.0
    trials = [Trial(0.0, 0.99, 0.2), Trial(1.0, 0.99, first.mean()), Trial(3.0, 0.99, other.mean())]
    assert chosen(trials, [np.zeros(100), first, other], floor=0.98) == place


def test_the_first_weight_is_no_choice_where_it_loses_clean_accuracy_or_robustness() -> None:
    as_it_was, better = stood(1, 0, 0, 0), stood(1, 1, 0, 0)
    for first in (Trial(1.0, 0.9, 0.5), Trial(1.0, 0.99, 0.25), Trial(1.0, 0.0, 0.0)):
        trials = [Trial(0.0, 0.99, 0.25), first, Trial(0.3, 0.99, 0.5)]
        assert chosen(trials, [as_it_was, np.full(4, first.robust), better], floor=0.98) == 2
        assert chosen(trials[:2], [as_it_was, np.full(4, first.robust)], floor=0.98) == 0
