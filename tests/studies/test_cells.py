import json

import numpy as np
import pytest

from retemper.evaluation import paired_difference
from retemper.studies.cells import AUTO, DEFAULT, PGD, PLAIN, Cell, Network
from retemper.threats import L2, Linf, Threat

THREATS: tuple[Threat, ...] = (Linf(0.1), L2(0.5))
IMAGES = 400


def network(way: str, seed: int, stand: int, *, steps: float | None = 2.0, waited: float = 4.0) -> Network:
    """Its first `stand` images stand at the first threat, half of them at the second, ten more are clean."""
    places = np.arange(IMAGES)
    standing = dict(zip(THREATS, (places < stand, places < stand // 2), strict=True))
    return Network(way, seed, None, steps, waited, places < stand + 10, standing, dict.fromkeys(THREATS, ()))


def cell(*networks: Network) -> Cell:
    return Cell("digits", "mlp", THREATS, networks)


def test_differences_are_of_the_seeds_that_both_have() -> None:
    plain = [network(PLAIN, 0, 100), network(PLAIN, 1, 300)]
    entropic = [network(DEFAULT, 0, 120), network(DEFAULT, 1, 310)]
    found = cell(*plain, *entropic, network(PGD, 0, 200))
    over = found.difference(DEFAULT, PLAIN, THREATS[0])
    assert over.mean == pytest.approx((20 + 10) / 2 / IMAGES)
    expected = paired_difference(
        [one.standing[THREATS[0]] for one in entropic], [one.standing[THREATS[0]] for one in plain]
    )
    assert (over.mean, over.interval) == expected
    assert (over.way, over.over, over.measure) == (DEFAULT, PLAIN, "linf:0.1")
    assert found.difference(PGD, PLAIN, THREATS[1]).mean == pytest.approx((100 - 50) / IMAGES)
    clean = found.difference(PGD, PLAIN, None)
    assert clean.measure == "clean"
    assert clean.mean == pytest.approx(100 / IMAGES)


def test_costs_are_ratios_of_like_to_like_on_the_same_seeds() -> None:
    found = cell(
        network(PLAIN, 0, 100, steps=2, waited=3),
        network(PLAIN, 1, 100, steps=6, waited=9),
        network(DEFAULT, 0, 100, steps=3, waited=50),
        network(DEFAULT, 1, 100, steps=7, waited=50),
        network(AUTO, 0, 100, steps=None, waited=30),
        network(AUTO, 1, 100, steps=None, waited=42),
        network(PGD, 0, 100, steps=20, waited=100),
    )
    assert found.cost(DEFAULT) == (3 + 7) / (2 + 6)
    assert found.cost(AUTO) == (30 + 42) / (3 + 9)
    assert found.cost(PGD) == 20 / 2


@pytest.mark.parametrize(
    ("auto", "worse"), [(200, []), (199, []), (100, ["linf:0.1", "l2:0.5"]), (170, ["linf:0.1", "l2:0.5"])]
)
def test_auto_is_worse_only_where_the_whole_interval_says_so(auto: int, worse: list[str]) -> None:
    found = cell(network(DEFAULT, 0, 200), network(AUTO, 0, auto))
    assert [one.measure for one in found.worse()] == worse


def test_json_holds_every_image_and_every_comparison() -> None:
    found = cell(*[network(way, 0, 100 + place) for place, way in enumerate((PLAIN, DEFAULT, AUTO, PGD))])
    written = json.loads(json.dumps(found.as_json()))
    assert [one["way"] for one in written["networks"]] == [PLAIN, DEFAULT, AUTO, PGD]
    assert sum(written["networks"][3]["standing"]["linf:0.1"]) == 103
    pairs = [(one["way"], one["over"], one["measure"]) for one in written["differences"]]
    over = [(DEFAULT, PLAIN), (AUTO, PLAIN), (PGD, PLAIN), (AUTO, DEFAULT)]
    assert pairs == [(*pair, measure) for pair in over for measure in ("clean", "linf:0.1", "l2:0.5")]
    assert set(written["costs"]) == {DEFAULT, AUTO, PGD}
