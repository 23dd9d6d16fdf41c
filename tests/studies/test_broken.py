import json
from itertools import product

import numpy as np
import pytest

from retemper.errors import SettingError
from retemper.studies.attacking import Attacked
from retemper.studies.broken import Experiment, Network, Outcome, table
from retemper.studies.ways import Trial
from retemper.threats import L2, Linf

INFINITE = float("inf")


def seen(*distances: float) -> Attacked:
    known = np.array(distances)
    return Attacked(known > 0, known)


def outcome(cross_entropy: Attacked, differential: Attacked, seeds: int = 1) -> Outcome:
    experiment = Experiment(threats=(L2(0.5), L2(1.0)), seeds=seeds)
    found = {"cross-entropy": cross_entropy, "differential": differential}
    networks = tuple(
        Network(loss, budget, seed, 0, dict.fromkeys(("train", "test"), found[loss]))
        for seed, budget, loss in product(range(seeds), experiment.budgets, found)
    )
    return Outcome(experiment, {loss: f"{loss}-sgd-0.1" for loss in found}, (Trial("a", 0.9, 0.5),), networks)


def test_the_share_that_breaks_is_one_of_the_images_answered_rightly() -> None:
    found = seen(0, 0.2, 0.5, 0.7, INFINITE)
    assert found.broken(0.5).tolist() == [True, True, False, False]
    assert outcome(found, found).broken("differential", "long", "test", 0.5) == [0.5]


def test_a_difference_is_one_of_all_images_with_wrong_answers_counted() -> None:
    (first, *others) = outcome(seen(0.4, 0.4, 2, 2), seen(0, 2, 2, 2), seeds=3).differences()
    assert (first.budget, first.split, first.radius) == ("usual", "train", 0.5)
    assert first.mean == pytest.approx(-0.25)
    assert first.interval.low < -0.25 < first.interval.high
    assert len(others) == 7


@pytest.mark.parametrize(
    ("differential", "words"),
    [
        (seen(2, 2, 2, 0.4), "falls radically ("),
        (seen(0.6, 0.6, 2, 0.6), "falls radically in part"),
        (seen(0.4, 0.4, 0.4, 2), "falls, but not to half ("),
        (seen(0.4, 0.4, 0.4, 0.6), "falls, but not at every radius ("),
        (seen(0.4, 0.4, 0.4, 0.4), "does not fall ("),
    ],
)
def test_the_verdict_says_how_far_the_share_falls(differential: Attacked, words: str) -> None:
    many = seen(*differential.distances.repeat(50))
    verdict = outcome(seen(*[0.4] * 200), many).verdict()
    assert verdict.count(words) == 4
    assert len(verdict.splitlines()) == 4


@pytest.mark.parametrize(
    ("cross_entropy", "differential", "said"),
    [
        ((50, 475), (400, 150), "does not fall (52.5% -> 55.0% within 0.5"),
        ((200, 240), (20, 300), "falls, but not to half (44.0% -> 32.0% within 0.5"),
    ],
)
def test_the_word_and_the_shares_beside_it_are_of_the_same_images(
    cross_entropy: tuple[int, int], differential: tuple[int, int], said: str
) -> None:
    """Of 1,000 images so many are answered wrongly and so many broken: clean accuracies differ."""
    both = [
        seen(*[0.0] * wrong, *[0.4] * broken, *[2] * (1000 - wrong - broken))
        for wrong, broken in (cross_entropy, differential)
    ]
    assert outcome(*both).verdict().count(said) == 4


def test_where_nothing_breaks_nothing_falls() -> None:
    verdict = outcome(seen(*[2] * 200), seen(*[2] * 200)).verdict()
    assert verdict.count("does not fall (") == 4


def test_a_fall_to_less_than_half_within_the_noise_is_not_radical() -> None:
    verdict = outcome(seen(*[0.4] * 2, *[2] * 98), seen(*[2] * 100)).verdict()
    assert "radically" not in verdict


def test_a_fall_within_the_noise_is_none() -> None:
    verdict = outcome(seen(0.4, 0.4, 0.4, 0.4), seen(0.4, 0.4, 0.4, 2)).verdict()
    assert verdict.count("does not fall beyond the noise (") == 4


def test_the_outcome_is_json_and_a_table_with_every_seed() -> None:
    found = outcome(seen(0.4, INFINITE), seen(2, 2), seeds=2)
    written = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert written["networks"][0]["distances"]["test"] == [0.4, None]
    assert " 50.0 (50.0 50.0)" in table(found)
    assert "differential: differential-sgd-0.1" in table(found)


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"images": 0}, {"threats": ()}, {"threats": (L2(0.5), Linf(0.1))}])
def test_impossible_experiments_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Experiment(**wrong)  # type: ignore[arg-type]
