from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.figures import Figure
from benchmarks.recipes import costs
from benchmarks.recipes.costs import cost
from retemper.data import Data, load
from retemper.objectives import CrossEntropy, Objective, PGDTraining
from retemper.studies.ways import Way
from retemper.threats import Linf


@pytest.fixture(scope="module")
def digits() -> Data:
    return load("digits")


def test_a_cost_that_was_kept_is_read_back_for_the_same_way_alone(
    digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ratio(
        name: str, ours: Callable[[], object], peer: Callable[[], object], labels: tuple[str, str], _n: int
    ) -> Figure:
        ours(), peer()
        asked.append(labels)
        return Figure(name, float(len(asked)), 1.0, 9.0, "x", *labels, pairs=1)

    def costing(objective: Objective, model: str = "mlp", plain: str = "mlp", **settings: object) -> float:
        way = Way("mine", objective, model, settings=settings)  # type: ignore[arg-type]  # of several types
        return cost(way, digits, plain, 3, tmp_path).value

    monkeypatch.setattr(costs, "paired_ratio", ratio)
    plain, pgd = CrossEntropy(), PGDTraining(Linf(0.1), steps=2)
    assert [costing(plain), costing(plain)] == [1.0, 1.0]
    assert "CrossEntropy" in asked[0][0]
    # The same name, but another objective, network, precision, or network that it is held against.
    assert [costing(pgd), costing(pgd), costing(pgd, "small-cnn"), costing(pgd, "small-cnn", precision="bf16")] == [
        2,
        2,
        3,
        4,
    ]
    assert costing(pgd, "small-cnn", "small-cnn", precision="bf16") == 5
    assert costing(pgd, "small-cnn", "small-cnn", precision="bf16") == 5


def test_each_side_takes_several_steps_so_that_those_of_every_price_count(
    digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = {"plain": 0, "ours": 0}

    def step(objective: Objective, *_precision: object, **_network: object) -> Callable[[], None]:
        side = "plain" if repr(objective) == repr(CrossEntropy()) else "ours"

        def one() -> None:
            taken[side] += 1

        return one

    monkeypatch.setattr(costs, "step", step)
    cost(Way("mine", 2 * CrossEntropy(), "mlp"), digits, "mlp", 3, tmp_path)
    # The first round of each side is not timed.
    assert taken == {"plain": (costs.PAIRS + 1) * costs.STEPS, "ours": (costs.PAIRS + 1) * costs.STEPS}
    assert costs.STEPS > 1
