"""The entropy of the layers' outputs: the term of entropic retraining."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.activations import Layers
from retemper.errors import SettingError
from retemper.information import MEASURES
from retemper.objectives.base import Term
from retemper.objectives.forward import ForwardPass


@dataclass(frozen=True)
class ActivationEntropy(Term):
    """The sum over layers l of H(A_l), with A_l the layer's output for a batch of original inputs.

    A positive weight asks the layers to keep less. Our reading of Sperl & Böttinger 2020 (2008.03072): the
    source names neither the measure nor the layers. Layers with weights of their own are terms of their own:
    `0.1 * ActivationEntropy("conv*_act") + 0.02 * ActivationEntropy("dense*_act")`.

    Args:
        layers: which; "all" is every nonlinearity that is a module.
        measure: "activation", "softmax", "unit" or "renyi", see `retemper.information.MEASURES`.

    Raises:
        SettingError: an unknown measure.
        LayerError: at the first batch, where no layer fits.
    """

    layers: Layers = "all"
    measure: str = "activation"

    name = "activation-entropy"

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise SettingError(f"Expected `measure` to be one of {', '.join(MEASURES)}, but got {self.measure!r}.")

    @property
    def recorded_layers(self) -> Layers:
        """The layers whose entropies are added."""
        return self.layers

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The sum of the layers' entropies, in nats."""
        entropy = MEASURES[self.measure].entropy
        return torch.stack([entropy(output) for output in forward.activations(self.layers).values()]).sum()
