"""The entropy of the layers' outputs: the term of entropic retraining."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.activations import Layers
from retemper.checks import at_least_one
from retemper.errors import SettingError
from retemper.information import MEASURES
from retemper.objectives.base import Term
from retemper.objectives.every_nth import every_nth
from retemper.objectives.forward import ForwardPass


@dataclass(frozen=True)
class ActivationEntropy(Term):
    """The mean over layers l of H(A_l) / max H_l, with A_l the layer's output for a batch of original inputs.

    A positive weight asks the layers to keep less. In [0, 1] whatever the width and the depth (but for a draw of
    `every=n` where the images do not divide evenly, which can be a little more): a weight is what it
    costs in cross-entropy to keep all that can be kept. Our reading of Sperl &
    Böttinger 2020 (2008.03072): the source names neither the measure nor the layers, and the scale is ours. Layers with
    weights of their own are terms of their own:
    `1.0 * ActivationEntropy("conv*_act") + 0.2 * ActivationEntropy("dense*_act")`.

    With `every=n` a model in training mode is measured on every n-th image of the batch, from a random one of the
    first n on, which takes less time and memory. In expectation that is the value on all images, whatever the batch
    and its order. The draw is from torch's global generator, as those of dropout are; `retrain` seeds it each epoch.

    Args:
        layers: which; "all" is every nonlinearity that is a module.
        measure: "activation", "softmax", "unit", "renyi", "gaussian" or "effective-rank", see
            `retemper.information.MEASURES`.
        every: 1 for all images; more only for "activation" and "softmax", which are means over images.

    Raises:
        SettingError: an unknown measure, or an `every` that is below 1 or does not go with the measure.
        LayerError: at the first batch, where no layer fits or the model runs one with gradients off.
    """

    layers: Layers = "all"
    measure: str = "activation"
    every: int = 1

    name = "activation-entropy"

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise SettingError(f"Expected `measure` to be one of {', '.join(MEASURES)}, but got {self.measure!r}.")
        at_least_one(every=self.every)
        if self.every > 1 and not MEASURES[self.measure].by_image:
            raise SettingError(
                f"The measure {self.measure!r} is one of the whole batch, not a mean over images; "
                f"leave out `every={self.every}`."
            )

    @property
    def recorded_layers(self) -> Layers:
        """The layers whose entropies are added."""
        return self.layers

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean share of its maximum that each layer's entropy has."""
        measure, outputs = MEASURES[self.measure], list(forward.activations(self.layers).values())
        every = min(self.every, *map(len, outputs)) if self.every > 1 and forward.model.training else 1
        first = int(torch.randint(every, ())) if every > 1 else 0  # on the CPU, so that nothing waits for the device
        shares = []
        for output in outputs:
            chosen = every_nth(output, first, every) if every > 1 else output
            # Where the images do not divide evenly, some draws have one more: each counts by how many it has.
            entropy = measure.entropy(chosen) * (len(chosen) * every / len(output))
            maximum = measure.maximum(len(output), output[0].numel())
            # A single unit, or a single image where it is images that differ, can only have an entropy of 0.
            shares.append(entropy / maximum if maximum > 0 else 0 * entropy)
        return torch.stack(shares).mean()
