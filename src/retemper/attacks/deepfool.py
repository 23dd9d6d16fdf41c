"""DeepFool: to the nearest linearised boundary, again and again (Moosavi-Dezfooli et al. 2016, arXiv 1511.04599)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import ascend, check_batch, look, surroundings
from retemper.attacks.losses import margin
from retemper.attacks.nearest import Nearest
from retemper.attacks.planes import nearest_plane, rivals
from retemper.attacks.projection import way_onto_plane
from retemper.checks import at_least_one
from retemper.errors import SettingError
from retemper.noise import Noise
from retemper.threats import Threat


def deepfool(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    threat: Threat,
    noise: Noise | None = None,
    *,
    steps: int = 50,
    overshoot: float = 0.02,
    candidates: int | None = 10,
) -> Float[Tensor, "images *shape"]:
    """Step to the nearest boundary of the model's linearisation until the answer changes.

    Where a coordinate meets the bounds the others go on instead (ours: the projection of FAB).

    Returns for every image the first adversarial input found, at whatever distance, else the input itself.
    Images that have fallen leave the batch at once. The distances are upper bounds that cost few passes.

    Args:
        model: any module; its mode, its flags and the global generator stay as they are.
        inputs: within the threat's bounds, float32 or float64.
        labels: integers in [0, classes).
        threat: norm and bounds; its radius is no limit.
        noise: taken as by every attack; nothing is drawn.
        steps: at most, each of one forward pass and one backward pass for each candidate.
        overshoot: how far beyond the boundary the sum of all steps is taken, as a share of itself.
        candidates: how many classes are stepped towards, those with the largest logits; None for all.

    Raises:
        SettingError: a number out of range, inputs outside the bounds, labels that are no classes.
        ModelError: the model does not run on the inputs, or cannot be differentiated by them.
    """
    at_least_one(steps=steps, candidates=1 if candidates is None else candidates)
    if not overshoot > 0:
        raise SettingError(f"Expected `overshoot` to be above 0, but got {overshoot}.")
    check_batch(inputs, labels, threat)
    inputs = inputs.detach()
    with surroundings(model):
        nearest = Nearest(inputs, threat, within=False)
        places = nearest.standing()
        nearest.record(places, inputs, ascend(model, inputs[places], labels[places], margin).fallen)
        places = nearest.standing()
        points, way = inputs[places], torch.zeros_like(inputs[places], dtype=torch.float64)
        others = rivals(model, inputs, labels, candidates)
        for _ in range(steps):
            if len(places) == 0:
                break
            plane = nearest_plane(model, points, labels[places], others[places], threat)
            nearest.record(places, points, plane.fallen)
            stay = ~plane.fallen
            # The paper knows no bounds: clamped alone, its steps can creep up to the boundary and never cross it.
            way = (way + way_onto_plane(points, plane.normal, -plane.gap, threat))[stay]
            places = places[stay]
            points = (inputs[places] + (1 + overshoot) * way).to(inputs.dtype).clamp(*threat.bounds)
        if len(places) > 0:  # some still stand: what the last step reached is judged too
            nearest.record(places, points, look(model, points, labels[places], margin)[1])
        return nearest.points
