"""How far each wrong class could get ahead of the right one inside a box of inputs."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.errors import ModelError
from retemper.objectives.interval_bounds.boxes import Box, through


def worst_margins(model: nn.Module, box: Box, labels: Int[Tensor, " images"]) -> Float[Tensor, "images classes"]:
    """An upper bound of z_k - z_y for every class k; 0 for the label y itself.

    A last linear layer is taken together with the difference of the logits, whose bound is then exact for that layer,
    as Gowal et al. 2018 do.

    Raises:
        ModelError: a model that is no nn.Sequential, or has a layer without an interval bound.
    """
    *body, (name, last) = layers_of(model)
    for hidden, layer in body:
        box = through(hidden, layer, box)
    if isinstance(last, nn.Linear) and type(last).forward is nn.Linear.forward:
        return _linear_margins(last, box, labels)
    box = _against_class_0(through(name, last, box))
    margins = box.upper - box.lower.gather(1, labels[:, None])
    return margins.scatter(1, labels[:, None], 0)


def layers_of(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of nested nn.Sequential in the order in which they run, by name."""
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    if not isinstance(model, nn.Sequential) or type(model).forward is not nn.Sequential.forward:
        raise ModelError(
            f"Interval bounds pass through nn.Sequential alone, since only there is it known what runs after what, "
            f"but got {type(model).__name__}."
        )
    # Not by `named_children`, which leaves out a layer that runs a second time.
    for name, layer in zip(model._modules, model, strict=True):
        if type(layer).forward is nn.Sequential.forward:
            yield from layers_of(layer, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", layer


def _linear_margins(last: nn.Linear, box: Box, labels: Tensor) -> Tensor:
    # A single output is the score of class 1 against class 0.
    ahead = 1 if last.out_features == 1 else 0
    weight = F.pad(last.weight, (0, 0, ahead, 0))
    bias = F.pad(last.bias, (ahead, 0)) if last.bias is not None else weight.new_zeros(len(weight))
    gaps = weight[None] - weight[labels][:, None]  # images, classes, units
    centre = torch.einsum("nu,nku->nk", box.centre, gaps)
    return centre + torch.einsum("nu,nku->nk", box.reach, gaps.abs()) + bias[None] - bias[labels][:, None]


def _against_class_0(box: Box) -> Box:
    """Two logits in place of a single output, as `retemper.models.logits` reads it."""
    if box.lower.dim() == 2 and box.lower.shape[1] > 1:
        return box
    return Box(*(F.pad(end.reshape(len(end), 1), (1, 0)) for end in box))
