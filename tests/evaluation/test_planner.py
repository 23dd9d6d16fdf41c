import math

import numpy as np
import pytest

from retemper.errors import SettingError
from retemper.evaluation.claim import Claim, judge
from retemper.evaluation.planner import plan_images
from retemper.threats import Linf


def chance(word: str, claim: Claim, images: int, accuracy: float) -> float:
    """The probability of a verdict, count by count, each judged by `judge` itself."""
    total = 0.0
    for count in range(images + 1):
        if judge(claim, np.arange(images) < count).word == word:
            total += math.comb(images, count) * accuracy**count * (1 - accuracy) ** (images - count)
    return total


@pytest.mark.parametrize("claimed", [0.05, 0.41, 0.5, 0.9])
@pytest.mark.parametrize("power", [0.3, 0.9])
def test_the_images_planned_are_the_fewest_from_which_on_the_power_holds(claimed: float, power: float) -> None:
    claim = Claim(claimed, Linf(0.1))
    gap = 0.3 if claimed in (0.41, 0.5) else 0.05
    (needed,) = plan_images(claim, [gap], power)
    for word, images, accuracy in (
        ("refuted", needed.refuted, round(claimed - gap, 12)),
        ("not refuted", needed.not_refuted, round(claimed + gap, 12)),
    ):
        assert images is not None
        if images > 1:
            assert chance(word, claim, images - 1, accuracy) < power
        if images < 300:  # beyond, floats overflow and time runs out
            assert all(chance(word, claim, images + more, accuracy) >= power for more in range(0, 40, 3))


@pytest.mark.parametrize(("claimed", "gap"), [(0.41, 0.05), (0.7, 0.03)])
def test_simulated_evaluations_of_that_size_give_the_verdict_as_often(claimed: float, gap: float) -> None:
    claim = Claim(claimed, Linf(0.1))
    (needed,) = plan_images(claim, [gap])
    generator = np.random.default_rng(0)
    for word, images, accuracy in (
        ("refuted", needed.refuted, claimed - gap),
        ("not refuted", needed.not_refuted, claimed + gap),
    ):
        assert images is not None
        words = [judge(claim, generator.random(images) < accuracy).word for _ in range(1000)]
        # Four standard deviations around 90 %.
        assert abs(words.count(word) / 1000 - 0.9) < 0.04


def test_a_smaller_gap_or_more_power_takes_more_images() -> None:
    claim = Claim(0.41, Linf(0.1))
    rows = plan_images(claim)
    assert [row.gap for row in rows] == [0.10, 0.05, 0.02, 0.01]
    for name in ("refuted", "not_refuted"):
        counts = [getattr(row, name) for row in rows]
        assert counts == sorted(counts)
        assert counts[0] < getattr(plan_images(claim, [0.1], power=0.99)[0], name)
    # Images go with the inverse square of the gap.
    assert rows[3].refuted / rows[1].refuted == pytest.approx(25, rel=0.02)


def test_an_accuracy_below_none_or_above_all_is_not_planned_for() -> None:
    assert plan_images(Claim(0.05, Linf(0.1)), [0.1])[0].refuted is None
    assert plan_images(Claim(0.95, Linf(0.1)), [0.1])[0].not_refuted is None
    # The edges themselves can be: nothing stands, or everything.
    assert plan_images(Claim(0.3, Linf(0.1)), [0.3])[0].refuted == 9
    assert plan_images(Claim(0.95, Linf(0.1)), [0.05])[0].not_refuted == 73


@pytest.mark.parametrize("settings", [{"gaps": [0.1, 0.0]}, {"gaps": [1.0]}, {"power": 1.0}, {"power": 0.0}])
def test_a_gap_or_power_that_is_no_share_is_refused(settings: dict[str, float]) -> None:
    (name,) = settings
    with pytest.raises(SettingError, match=f"`{name}` between 0 and 1"):
        plan_images(Claim(0.41, Linf(0.1)), **settings)
