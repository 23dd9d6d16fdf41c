"""Auto-PGD from where a short Square attack ends (ours).

Where the gradient around an image leads nowhere, as in networks that learnt to threshold their inputs, starts drawn
from the ball do not help either: all of them are thresholded away. A few large squares leave that region, and
from there gradients lead on. Square alone takes thousands of queries for what this takes tens of.
"""

from contextlib import nullcontext, suppress

from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.attacks.apgd import apgd
from retemper.attacks.ascent import check_batch, look, surroundings
from retemper.attacks.found import Found
from retemper.attacks.losses import named
from retemper.attacks.square import square
from retemper.checks import at_least_one
from retemper.errors import GradientError
from retemper.noise import Noise
from retemper.threats import Threat


def apgd_from_square(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    threat: Threat,
    noise: Noise | None = None,
    *,
    queries: int = 30,
    steps: int = 50,
    restarts: int = 3,
    loss: str = "margin",
) -> Float[Tensor, "images *shape"]:
    """Climb from the end of a short Square attack, with half the first step size of APGD.

    Returns for every image an adversarial input where one was found, else the point of highest loss.

    Args:
        model: any module; its mode, its flags and the global generator stay as they are.
        inputs: within the threat's bounds, float32 or float64.
        labels: integers in [0, classes).
        threat: radius, norm and bounds.
        noise: keyed by image; None counts the images from 0.
        queries: of Square, in each restart.
        steps: gradient steps from there.
        restarts: each on the images that still stand.
        loss: "ce", "margin" or "dlr".

    Raises:
        SettingError: a number below one, an unknown loss, inputs outside the bounds, labels that are no classes.
        ModelError: the model does not run on the inputs, or cannot be differentiated by them.
    """
    at_least_one(queries=queries, steps=steps, restarts=restarts)
    check_batch(inputs, labels, threat)
    climbed = named(loss)
    noise = noise or Noise.for_batch(inputs)
    with surroundings(model):
        found = Found(inputs.detach())
        for restart in range(restarts):
            places = found.standing()
            if len(places) == 0:
                break
            originals, right, own = inputs[places], labels[places], noise[places].at(restart)
            points = square(model, originals, right, threat, own, queries=queries, loss=loss)
            still = found.record(places, points, *look(model, points, right, climbed))
            if not still.any():
                continue
            # Where gradients are cut, what the queries broke is broken all the same.
            with suppress(GradientError) if found.fallen.any() else nullcontext():
                own, places, originals, right = own[still], places[still], originals[still], right[still]
                ends = apgd(
                    model,
                    originals,
                    right,
                    threat,
                    own,
                    steps=steps,
                    loss=loss,
                    starts=points[still],
                    step_size=0.5,
                )
                found.record(places, ends, *look(model, ends, right, climbed))
        return found.points
