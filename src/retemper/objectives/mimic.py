"""The profile of another network as a target: layers are asked to keep as much as that network's layers do."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retemper.activations import RUN, Layers, record
from retemper.checks import is_a
from retemper.errors import LayerError, SettingError
from retemper.information import MEASURES
from retemper.models import evaluation_mode, logits
from retemper.models.inference import device_of
from retemper.objectives.base import Term
from retemper.objectives.forward import ForwardPass


@dataclass(frozen=True)
class Mimic(Term):
    """The mean over layers l of ((H(A_l) - target_l) / maximum_l)^2.

    Targets are what the layers of the same names of a robust network keep (`Mimic.of`): where entropic retraining
    asks every layer to keep less, this asks for that network's information loss, no less and no more. Dividing by
    the largest value that the entropy can take makes layers of any width count alike. The source (Sperl & Böttinger
    2020, 2008.03072) speaks of mimicking the effect of adversarial training; this form is ours.

    Args:
        targets: layers by name, each with the entropy that it should have, in nats.
        measure: "activation", "softmax", "unit", "renyi", "gaussian" or "effective-rank", see
            `retemper.information.MEASURES`.

    Raises:
        SettingError: an unknown measure, or no targets.
        LayerError: at the first batch, where the model has no layer of a name or runs one with gradients off.
    """

    targets: tuple[tuple[str, float], ...]
    measure: str = "activation"

    name = "mimic"

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise SettingError(f"Expected `measure` to be one of {', '.join(MEASURES)}, but got {self.measure!r}.")
        if not self.targets:
            raise SettingError("Expected a target for one layer at least, but got none; see `Mimic.of`.")
        # As JSON gives them back, they are lists.
        object.__setattr__(self, "targets", tuple((layer, target) for layer, target in self.targets))

    @classmethod
    def of(
        cls,
        model: nn.Module,
        batches: Iterable[tuple[Tensor, Tensor]],
        layers: Layers = "all",
        measure: str = "activation",
    ) -> "Mimic":
        """The term whose targets are the mean entropies of a robust model's layers over batches of (inputs, labels).

        "unit", "renyi", "gaussian" and "effective-rank" are measures of a whole batch and hang on how many images it
        has: show batches of the size that training will use.

        Raises:
            SettingError: an unknown measure, or no batch.
            LayerError: no layer fits.
        """
        if measure not in MEASURES:
            raise SettingError(f"Expected `measure` to be one of {', '.join(MEASURES)}, but got {measure!r}.")
        is_a(Iterable, "pass batches of a split, such as data.train.batches(128)", batches=batches)
        device, found, images = device_of(model), dict[str, float](), 0
        with evaluation_mode(model), torch.no_grad(), record(model, layers) as activations:
            for inputs, _labels in batches:
                activations.clear()
                logits(model, inputs.to(device, copy=True))
                for layer, output in activations.items():
                    entropy = float(MEASURES[measure].entropy(output))
                    found[layer] = found.get(layer, 0.0) + len(inputs) * entropy
                images += len(inputs)
        return cls(tuple((layer, total / images) for layer, total in found.items()), measure)

    @property
    def recorded_layers(self) -> Layers:
        """The layers that have a target, those that ran several times once."""
        return list(dict.fromkeys(RUN.sub("", layer) for layer, _ in self.targets))

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean over layers of the squared shares of the maximum by which they miss their targets."""
        measure = MEASURES[self.measure]
        outputs = forward.activations(self.recorded_layers)
        misses = []
        for layer, target in self.targets:
            if layer not in outputs:
                raise LayerError(
                    f"Expected layer {layer!r}, which has a target, to run in {type(forward.model).__name__}, but it "
                    f"did not; those that ran: {', '.join(outputs)}."
                )
            output = outputs[layer]
            maximum = measure.maximum(len(output), output[0].numel())
            entropy = measure.entropy(output)
            # Where nothing can be kept, as of one image by measures of a whole batch, no target can be missed.
            misses.append((entropy - target) / maximum if maximum > 0 else 0 * entropy)
        return torch.stack(misses).square().mean()
