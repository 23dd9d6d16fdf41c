"""The one forward pass that all terms of a step share."""

import contextlib
import copy
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.activations import Activations, Layers, record
from retemper.attacks.losses import margin
from retemper.errors import LayerError, SettingError
from retemper.models import logits
from retemper.models.differentiation import differentiating
from retemper.objectives.draws import Draws

Differentiated = Literal["loss", "scores"]


class ForwardPass:
    """Logits, the activations that were asked for, and input gradients, each computed once.

    Args:
        model: in whatever mode it is.
        inputs: in floats.
        labels: integers in [0, classes).
        layers: selections of layers to record, those of the terms that read activations.
        differentiable_inputs: keep the graph back to the inputs, for `input_gradient`; inputs that require a
            gradient are taken as they are, so that an attack's own gradient reaches them through the terms.
        progress: the share of the training that is done, in [0, 1], for what warms up.

    Raises:
        SettingError: inputs that are no floats have no gradient.
        ModelError: the model does not run on the inputs.
        LayerError: no layer fits; or, with gradients on, the model runs one with gradients off.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Float[Tensor, "images *shape"],
        labels: Int[Tensor, " images"],
        layers: Sequence[Layers] = (),
        *,
        differentiable_inputs: bool = False,
        progress: float = 1.0,
    ) -> None:
        self.model, self.given, self.labels, self.progress = model, inputs, labels, progress
        # What moves inputs runs the model again, on the same draws (`moved`).
        self.draws = Draws(inputs.device) if differentiable_inputs else None
        leaf = differentiable_inputs and not inputs.requires_grad
        if leaf and not inputs.is_floating_point():
            raise SettingError(
                f"Expected inputs in floats, as a gradient by them is taken, but got {inputs.dtype}; scale them to "
                "[0, 1]."
            )
        self.inputs = inputs.detach().requires_grad_() if leaf else inputs
        with contextlib.ExitStack() as stack:
            on = torch.is_grad_enabled()
            self._recorded = [
                (choice, stack.enter_context(record(model, choice, differentiable=on))) for choice in layers
            ]
            outputs = logits(model, self.inputs)
        # Losses and differences of logits need more digits than half precision has.
        self.logits = outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs
        self._losses: Tensor | None = None
        self._gradients: dict[Differentiated, Tensor] = {}

    def with_logits(self, logits: Float[Tensor, "images classes"]) -> "ForwardPass":
        """The same pass as if it had ended in other logits: what is made of logits is made of these."""
        other = copy.copy(self)
        other.logits, other._losses, other._gradients = logits, None, {}
        return other

    @property
    def losses(self) -> Float[Tensor, " images"]:
        """The cross-entropy of each image."""
        if self._losses is None:
            self._losses = F.cross_entropy(self.logits, self.labels, reduction="none")
        return self._losses

    def activations(self, layers: Layers) -> Activations:
        """The recorded outputs of one of the selections; a layer that ran several times has an entry for each.

        Raises:
            LayerError: none of these layers ran, or no term asked for this selection.
        """
        activations = next((activations for choice, activations in self._recorded if choice == layers), None)
        if activations is None:
            raise LayerError(f"Nothing was recorded for {layers!r}: a term names what it reads in `recorded_layers`.")
        if not activations:
            raise LayerError(
                f"{type(self.model).__name__} has layers that fit {layers!r}, but none of them ran in its forward "
                "pass. Name layers that do; in place of a model under torch.compile pass the one that was compiled."
            )
        return activations

    def values(self, of: Differentiated) -> Float[Tensor, " images"]:
        """What is differentiated: each image's cross-entropy, or z_y - max_{k != y} z_k.

        The latter for "scores": with two classes, the difference of the two scores.
        """
        return self.losses if of == "loss" else -margin(self.logits, self.labels)

    def input_gradient(self, of: Differentiated, *, differentiable: bool = True) -> Float[Tensor, "images *shape"]:
        """The gradient of each image's value by that image, itself differentiable unless that is not asked for.

        Raises:
            ModelError: torch cannot differentiate the model so.
        """
        gradient = self._gradients.get(of)
        if gradient is None or (differentiable and not gradient.requires_grad):
            # By the inputs alone, so that no layer computes what its weights would get.
            with differentiating():
                (gradient,) = torch.autograd.grad(
                    self.values(of).sum(), self.inputs, retain_graph=True, create_graph=differentiable
                )
            self._gradients[of] = gradient
        return gradient if differentiable else gradient.detach()
