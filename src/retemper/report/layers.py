"""The layers' profiles side by side: one name a layer, means over the seeds of an objective."""

import math
from collections.abc import Sequence

from retemper.information import LayerProfile
from retemper.report.results import Network


def layer_names(networks: Sequence[Network]) -> list[str]:
    """The names of all layers from input to output; one that some networks lack stands after the one it follows."""
    names: list[str] = []
    for network in networks:
        place = 0
        for profile in network.layers:
            if profile.layer not in names:
                names.insert(place, profile.layer)
            place = names.index(profile.layer) + 1
    return names


def mean_value(networks: Sequence[Network], layer: str, quantity: str) -> float:
    """The mean of a quantity over the networks that have the layer; NaN where none has it."""
    return _mean([getattr(found, quantity) for found in _profiles(networks, layer)])


def mean_share(networks: Sequence[Network], layer: str, quantity: str) -> float:
    """The same as a share of its maximum; NaN too where the maximum is zero, as for a layer of one unit."""
    maxima = [(found, found.maxima[quantity]) for found in _profiles(networks, layer)]
    return _mean([getattr(found, quantity) / maximum for found, maximum in maxima if maximum > 0])


def _profiles(networks: Sequence[Network], layer: str) -> list[LayerProfile]:
    return [found for network in networks for found in network.layers if found.layer == layer]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
