import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from retemper.errors import SettingError
from retemper.information import QUANTITIES, LayerProfile
from retemper.objectives import PGDTraining
from retemper.studies import attacking
from retemper.studies.information import FIRST, LAST, MEAN, Found, Measured, Study, run
from retemper.threats import L2, Linf

STUDY = Study(
    data="digits",
    models=("mlp",),
    threats=(Linf(0.05), L2(0.5)),
    radii=(0.02, 0.1),
    weights=(0.05,),
    classes=("3", "8"),
    base_epochs=2,
    seeds=1,
    images=20,
    profiled=40,
)


def layer(name: str, active: float) -> LayerProfile:
    return LayerProfile(name, 8, 40, 40, active, 1.0, 0.3, 0.5, 4.0)


def network(model: str, way: int, robust: float, *active: float, seed: int = 0) -> Measured:
    layers = tuple(layer(f"act{place}", one) for place, one in enumerate(active))
    return Measured(model, f"{model}-{way}", seed, 0.9, {"linf:0.05": robust, "l2:0.5": robust}, layers)


def test_every_way_of_every_network_is_trained_attacked_profiled_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacking, "TRIED_STEPS", 3)
    found = run(STUDY, tmp_path, progress=False)
    assert [one.way for one in found.networks] == ["mlp-plain", "mlp-entropic-0.05", "mlp-pgd-0.02", "mlp-pgd-0.1"]
    for one in found.networks:
        assert set(one.robust) == {"linf:0.05", "l2:0.5"}
        assert 0 <= one.robustness <= one.clean <= 1
        assert [layer.layer for layer in one.layers] == ["dense1_act", "dense2_act"]
        assert one.layers[0].images == 24  # all the validation images that there are
    written = json.loads((tmp_path / "results.json").read_text())
    assert json.loads(json.dumps(run(STUDY, tmp_path, progress=False).as_json())) == written
    assert written["study"]["threats"] == ["linf:0.05", "l2:0.5"]
    assert len(written["correlations"]) == len(QUANTITIES) * 3


def test_pgd_trains_in_the_norm_of_the_first_threat() -> None:
    objectives = [way.objective for way in STUDY.ways("mlp")]
    assert [one.threat for one in objectives if isinstance(one, PGDTraining)] == [Linf(0.02), Linf(0.1)]


def test_the_name_of_a_way_is_one_that_a_folder_can_have() -> None:
    assert replace(STUDY, radii=(1 / 255,)).ways("mlp")[-1].name == "mlp-pgd-1_255"


def test_correlations_are_spearmans_within_each_model_and_over_all() -> None:
    networks = (
        network("mlp", 0, 0.1, 0.9, 0.1),
        network("mlp", 1, 0.2, 0.7, 0.2),
        network("mlp", 2, 0.4, 0.8, 0.4),
        network("lenet5", 0, 0.5, 0.1, 0.5),
        network("lenet5", 1, 0.3, 0.2, 0.5),
    )
    study = Study("digits", ("mlp", "lenet5"), STUDY.threats, STUDY.radii, STUDY.weights)
    found = {(one.quantity, one.place): one for one in Found(study, networks).correlations()}
    robust = [one.robust["linf:0.05"] for one in networks]
    for place, read in ((FIRST, lambda a, _: a), (LAST, lambda _, b: b), (MEAN, lambda a, b: (a + b) / 2)):
        values = [read(*(layer.active for layer in one.layers)) for one in networks]
        one = found["active", place]
        assert one.within["mlp"] == pytest.approx(spearmanr(values[:3], robust[:3]).statistic)
        assert one.overall == pytest.approx(spearmanr(values, robust).statistic)
    assert found["active", FIRST].within == {"mlp": pytest.approx(-0.5), "lenet5": pytest.approx(-1)}
    assert found["active", FIRST].mean == pytest.approx(-0.75)
    # The last layers of the one model all have the same share: there is nothing to rank.
    assert found["active", LAST].mean == found["active", LAST].within["mlp"] == pytest.approx(1)
    assert next(iter(found.values())).mean == pytest.approx(1)


def test_the_seeds_of_a_way_are_one_network_to_rank() -> None:
    study = replace(STUDY, seeds=2)
    means = (0.2, 0.7, 0.4, 0.9)
    networks = tuple(
        network("mlp", way, mean + shift, mean**2 - shift, seed=seed)
        for way, mean in enumerate(means)
        for seed, shift in enumerate((0.1, -0.1))
    )
    one = next(one for one in Found(study, networks).correlations() if (one.quantity, one.place) == ("active", LAST))
    assert one.within["mlp"] == one.overall == pytest.approx(1)
    assert Found(study, networks).by_chance() == of_networks(4).by_chance()


def test_means_that_differ_by_rounding_are_ties() -> None:
    networks = tuple(
        network("mlp", way, robust, 0.1 * way, seed=seed)
        for way, order in enumerate(((0.1, 0.2, 0.3), (0.3, 0.2, 0.1), (0.3, 0.1, 0.2)))
        for seed, robust in enumerate(order)
    )
    for one in Found(replace(STUDY, seeds=3), networks).correlations():
        assert np.isnan(one.overall)


def test_a_layer_of_one_unit_has_no_share() -> None:
    networks = tuple(
        replace(one, layers=(*one.layers, LayerProfile("single", 1, 40, 40, 1.0, 0.0, 0.0, 0.5, 1.0)))
        for one in (network("mlp", way, 0.1 * way, 0.2 * way) for way in range(4))
    )
    found = Found(STUDY, networks)
    assert np.isnan(networks[0].share("activation_entropy", LAST))
    assert networks[0].share("activation_entropy", MEAN) == networks[0].share("activation_entropy", FIRST)
    assert np.isnan(found.by_layer("mlp-1")["single"]["activation_entropy"])
    correlations = {(one.quantity, one.place): one.overall for one in found.correlations()}
    assert np.isnan(correlations["activation_entropy", LAST])
    assert correlations["active", FIRST] == pytest.approx(1)
    json.dumps(found.as_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "`seeds` to be 1 or more, but got 0"),
        ({"models": ()}, "one network and one threat"),
        ({"radii": (), "weights": (0.1,)}, "0 radii and 1 weights"),
    ],
)
def test_what_cannot_be_ranked_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Study(**({name: getattr(STUDY, name) for name in STUDY.__dataclass_fields__} | changes))


def of_networks(count: int) -> Found:
    return Found(replace(STUDY, models=("mlp",)), (network("mlp", 0, 0.5, 0.5),) * count)


def test_one_in_twenty_reaches_by_chance_what_is_said() -> None:
    """Against all 720 orders of six networks: the first value that at least one in twenty of them reaches."""
    sizes = [abs(spearmanr(range(6), order).statistic) for order in permutations(range(6))]
    said = of_networks(6).by_chance()
    assert sum(size >= said - 1e-9 for size in sizes) >= 720 / 20 > sum(size > said + 1e-9 for size in sizes)
    assert of_networks(14).by_chance() == pytest.approx(0.538, abs=0.02), "Zar 1972, two-sided at 5 %"
