import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import t

from retemper.data import Split
from retemper.evaluation import evaluate, plan
from retemper.information import LayerProfile
from retemper.report.results import Network, Outcome, Results, network_from
from retemper.threats import Linf

Make = Callable[..., Results]
Z = 1.959963984540054  # the normal quantile at 0.975


def test_results_come_back_from_json_as_they_were(make_results: Make) -> None:
    results = make_results()
    text = json.dumps(results.as_json(), allow_nan=False)
    assert Results.from_json(json.loads(text)) == results


def test_json_holds_the_table_for_those_who_only_read(make_results: Make) -> None:
    results = make_results()
    table = json.loads(json.dumps(results.as_json()))["table"]
    assert [row["objective"] for row in table] == ["plain", "entropic", "pgd"]
    for written, row in zip(table, results.rows(), strict=True):
        assert written["clean"]["mean"] == row.clean.mean
        assert written["robust"]["linf:0.1"]["interval"] == list(row.robust["linf:0.1"].interval)


def test_rows_are_what_plain_loops_count(make_results: Make) -> None:
    results = make_results()
    for row in results.rows():
        ours = [network for network in results.networks if network.objective == row.objective]
        plain = [network for network in results.networks if network.objective == "plain"]
        images = len(ours[0].clean)
        counted = []
        for network in ours:
            right = 0
            for character in network.clean:
                right += character == "1"
            counted.append(right / images)
        assert row.clean.seeds == pytest.approx(counted)
        share = sum(counted) / len(counted)
        assert row.clean.mean == pytest.approx(share)
        centre = (share + Z**2 / (2 * images)) / (1 + Z**2 / images)
        half = Z / (1 + Z**2 / images) * math.sqrt(share * (1 - share) / images + Z**2 / (4 * images**2))
        assert row.clean.interval == pytest.approx((centre - half, centre + half))
        for place, outcome in enumerate(ours[0].outcomes):
            standing = 0
            for network in ours:
                standing += network.outcomes[place].standing.count("1")
            assert row.robust[outcome.threat].mean == pytest.approx(standing / images / len(ours))
            if row.objective == "plain":
                continue
            differences = []
            for image in range(images):
                mine = sum(network.outcomes[place].standing[image] == "1" for network in ours) / len(ours)
                theirs = sum(network.outcomes[place].standing[image] == "1" for network in plain) / len(plain)
                differences.append(mine - theirs)
            # Two images more than there are, which differ by the square root of one half, up and down.
            total = sum(differences)
            squares = sum(difference**2 for difference in differences) + 1
            middle = total / (images + 2)
            variance = (squares - (images + 2) * middle**2) / (images + 1)
            half = t.ppf(0.975, images + 1) * math.sqrt(variance / (images + 2))
            found, ends = row.gain[outcome.threat]
            assert found == pytest.approx(total / images)
            assert ends == pytest.approx((middle - half, middle + half))


def _network(objective: str, seed: int, standing: str, seconds: float) -> Network:
    return Network(objective, seed, "1111", (Outcome("linf:0.1", standing, {}),), seconds, ())


def _by_hand(make: Make, *networks: Network) -> Results:
    names = dict.fromkeys(network.objective for network in networks)
    return replace(make(objectives=tuple(names)), networks=networks)


def test_gain_and_time_ratio_by_hand(make_results: Make) -> None:
    results = _by_hand(
        make_results,
        _network("plain", 0, "1000", 2),
        _network("plain", 1, "0000", 4),
        _network("pgd", 0, "1110", 10),
        _network("pgd", 1, "1110", 12),
    )
    plain, pgd = results.rows()
    assert plain.robust["linf:0.1"].mean == 0.125
    assert pgd.robust["linf:0.1"].mean == 0.75
    # By image: 1 - 1/2, 1 - 0, 1 - 0, 0 - 0; with the two added ones the mean is 2.5 / 6, the variance 0.44167.
    mean, ends = pgd.gain["linf:0.1"]
    assert mean == 0.625
    assert ends.low == pytest.approx(2.5 / 6 - 2.570581835636314 * math.sqrt(0.4416667 / 6))
    assert ends.high == 1
    assert pgd.time_ratio == (5, 3)
    assert plain.time_ratio == (1, 1)
    assert plain.gain == {}


def test_the_difference_of_two_objectives_turns_with_them(make_results: Make) -> None:
    results = make_results()
    mean, (low, high) = results.difference("pgd", "entropic", "linf:0.1")
    assert mean != 0
    back, ends = results.difference("entropic", "pgd", "linf:0.1")
    assert (back, *ends) == pytest.approx((-mean, -high, -low))
    assert results.difference("pgd", "plain", "l2:0.5") == results.rows()[2].gain["l2:0.5"]


def test_times_are_compared_seed_by_seed_in_whatever_order_they_stand(make_results: Make) -> None:
    results = _by_hand(
        make_results,
        _network("plain", 1, "1000", 4),
        _network("plain", 0, "1000", 2),
        _network("pgd", 0, "1110", 10),
        _network("pgd", 1, "1110", 12),
        _network("pgd", 2, "1110", 14),
    )
    assert results.rows()[1].time_ratio == (5, 3)


def test_without_plain_training_there_are_neither_gains_nor_ratios(make_results: Make) -> None:
    for row in make_results(objectives=("entropic", "pgd")).rows():
        assert row.gain == {}
        assert row.time_ratio == ()


def test_seeds_and_images_are_counted(make_results: Make) -> None:
    results = make_results(seeds=(3, 1), images=7)
    assert results.seeds == [1, 3]
    assert results.images == 7
    assert [str(threat) for threat in results.threats()] == ["linf:0.05", "linf:0.1", "l2:0.5"]


def test_a_networks_entry_holds_what_the_evaluation_found() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3)
    split = Split(torch.rand(9, 4), torch.arange(9) % 3)
    evaluation = evaluate(model, split, [Linf(0.1)], attacks=plan(["fgsm"], classes=3), progress=False)
    layer = LayerProfile("act", 3, 9, 9, 0.5, 1.0, 0.6, 0.7, 2.0)
    network = network_from("plain", 5, evaluation, 1.5, [layer])
    assert (network.objective, network.seed, network.training_seconds) == ("plain", 5, 1.5)
    assert network.layers == (layer,)
    np.testing.assert_array_equal([bit == "1" for bit in network.clean], evaluation.clean)
    np.testing.assert_array_equal(
        [bit == "1" for bit in network.outcomes[0].standing], evaluation.robustness[0].standing
    )
    assert network.outcomes[0].threat == "linf:0.1"
