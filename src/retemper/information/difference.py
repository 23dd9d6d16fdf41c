"""How layers differ: from the layer before, and from the same layer of another network."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from retemper.errors import LayerError, SettingError
from retemper.information.layer_profile import QUANTITIES, LayerProfile
from retemper.information.resampling import Estimate


@dataclass(frozen=True, eq=False)
class LayerDifference:
    """One layer's figures minus another's, on the same images, with paired intervals.

    Attributes:
        layer: whose figures.
        reference: what they are compared with: the layer before, or the same one in another network.
        values: by quantity, in its own unit.
        shares: by quantity, the difference of the shares of the maxima; without those whose maximum is zero, as the
            activation entropy of a single unit.
    """

    layer: str
    reference: str
    values: dict[str, Estimate]
    shares: dict[str, Estimate]

    def as_json(self) -> dict[str, Any]:
        """The differences and the ends of their intervals."""
        return {
            "layer": self.layer,
            "reference": self.reference,
            "values": {name: _entry(estimate) for name, estimate in self.values.items()},
            "shares": {name: _entry(estimate) for name, estimate in self.shares.items()},
        }


def changes(layers: Sequence[LayerProfile]) -> list[LayerDifference]:
    """The change from layer to layer: each layer of a profile minus the one before it, from the second on.

    Raises:
        SettingError: the profile was measured without replicates.
    """
    return [_between(layer, before) for before, layer in pairwise(layers)]


def difference(ours: Sequence[LayerProfile], theirs: Sequence[LayerProfile]) -> list[LayerDifference]:
    """Two networks layer by layer, ours minus theirs: for instance what adversarial training did to a network.

    Both profiles must be of the same images in the same order, with the same seed and replicates: then both were
    resampled alike, and what images have in common falls out of the intervals.

    Raises:
        LayerError: the networks have not the same layers, with as many units, in the same order.
        SettingError: they were measured over different numbers of images or replicates, or without replicates.
    """
    names, others = (", ".join(f"{layer.layer} ({layer.units})" for layer in layers) for layers in (ours, theirs))
    if names != others:
        raise LayerError(
            "Expected two networks with the same layers (and units) in the same order, but got "
            f"{names} against {others}; choose layers that both have with `layers`."
        )
    for our, their in zip(ours, theirs, strict=True):
        if _measured(our) != _measured(their):
            raise SettingError(
                "Expected two profiles of the same images with the same replicates, but at layer "
                f"{our.layer!r} got {_measured(our)} against {_measured(their)} "
                "(images, images of the Gram matrix, replicates)."
            )
    return [_between(our, their) for our, their in zip(ours, theirs, strict=True)]


def _between(layer: LayerProfile, reference: LayerProfile) -> LayerDifference:
    ours, theirs = layer.maxima, reference.maxima
    bounded = [quantity for quantity in QUANTITIES if ours[quantity] > 0 and theirs[quantity] > 0]
    return LayerDifference(
        layer=layer.layer,
        reference=reference.layer,
        values={name: layer.estimate(name) - reference.estimate(name) for name in QUANTITIES},
        shares={name: layer.estimate(name) / ours[name] - reference.estimate(name) / theirs[name] for name in bounded},
    )


def _measured(layer: LayerProfile) -> tuple[int, int, int]:
    return layer.images, layer.gram_images, len(next(iter(layer.replicates.values()), ()))


def _entry(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "interval": list(estimate.interval)}
