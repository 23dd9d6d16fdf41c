import math
from dataclasses import replace

import pytest

from retemper.information import LayerProfile
from retemper.report.layers import layer_names, mean_share, mean_value
from retemper.report.results import Network


def _network(*layers: LayerProfile) -> Network:
    return Network("plain", 0, "1", (), 1.0, layers)


LAYER = LayerProfile(
    "act",
    units=8,
    images=7,
    gram_images=5,
    active=0.5,
    activation_entropy=1.0,
    unit_entropy=0.3,
    renyi_entropy=0.4,
    effective_rank=2.0,
)


@pytest.mark.parametrize(
    ("lists", "merged"),
    [
        (["abc", "abc"], "abc"),
        (["ac", "abc"], "abc"),
        (["abc", "ac"], "abc"),
        (["b", "abc"], "abc"),
        (["", "ab"], "ab"),
        (["ab", "xyab"], "xyab"),
    ],
)
def test_layers_of_unlike_networks_are_listed_once_and_in_order(lists: list[str], merged: str) -> None:
    networks = [_network(*(replace(LAYER, layer=name) for name in names)) for names in lists]
    assert layer_names(networks) == list(merged)


def test_means_are_over_the_networks_that_have_the_layer() -> None:
    networks = [
        _network(LAYER),
        _network(replace(LAYER, effective_rank=3.0, unit_entropy=0.5)),
        _network(replace(LAYER, layer="other", effective_rank=1.0)),
    ]
    assert mean_value(networks, "act", "effective_rank") == 2.5
    assert mean_share(networks, "act", "effective_rank") == 2.5 / 4  # five images have a rank of four at most
    assert mean_share(networks, "act", "unit_entropy") == pytest.approx(0.4 / math.log(2))
    assert mean_share(networks, "act", "activation_entropy") == pytest.approx(1 / math.log(8))
    assert mean_share(networks, "act", "active") == 0.5


def test_what_has_no_maximum_or_no_layer_has_no_share() -> None:
    single = [_network(replace(LAYER, units=1, activation_entropy=0.0))]
    assert math.isnan(mean_share(single, "act", "activation_entropy"))
    assert mean_value(single, "act", "activation_entropy") == 0
    assert math.isnan(mean_value(single, "missing", "active"))
