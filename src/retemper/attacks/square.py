"""Square attack: random search over squares, without gradients (Andriushchenko et al. 2020, arXiv 1912.00049)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import check_batch, look, surroundings
from retemper.attacks.found import Found
from retemper.attacks.losses import named
from retemper.attacks.windows import odd_side_of, repaint, reweigh, side_of, stripes, tiles
from retemper.checks import at_least_one
from retemper.errors import SettingError
from retemper.noise import Noise
from retemper.threats import Linf, Threat, per_image

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries, as in the official code


def square(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    threat: Threat,
    noise: Noise | None = None,
    *,
    queries: int = 5000,
    restarts: int = 1,
    share: float = 0.8,
    loss: str = "margin",
    starts: Float[Tensor, "images *shape"] | None = None,
) -> Float[Tensor, "images *shape"]:
    """Change random squares of the image, smaller and smaller ones, and keep what raises the loss.

    Returns for every image an adversarial input where one was found, else the point of highest loss.
    Images that have fallen leave the batch at once. No gradient is taken, so that masked ones hide nothing.

    The source has images of shape (channels, height, width). In signals (channels, length) and vectors
    (features,) a square is a run of neighbouring places, in volumes a cube: the choice is ours.

    Args:
        model: any module; its mode, its flags and the global generator stay as they are.
        inputs: within the threat's bounds, float32 or float64.
        labels: integers in [0, classes).
        threat: radius, norm and bounds.
        noise: keyed by image, for all that is random; None counts the images from 0.
        queries: how often each restart asks the model about an image, the starting point among them.
        restarts: from new starting points, each on the images that still stand.
        share: of the image that the first squares cover, in (0, 1]; it is halved nine times on the way.
        loss: "ce", "margin" or "dlr".
        starts: where the first restart begins, such as what an earlier attack reached; None draws stripes
            for Linf and tiles for L2.

    Raises:
        SettingError: a number out of range, an unknown loss, inputs outside the bounds, labels that are no classes.
        ModelError: the model does not run on the inputs.
    """
    at_least_one(queries=queries, restarts=restarts)
    if not 0 < share <= 1:
        raise SettingError(f"Expected `share` to be in (0, 1], but got {share}.")
    climbed = named(loss)
    check_batch(inputs, labels, threat)
    noise = noise or Noise.for_batch(inputs)
    inputs = inputs.detach()
    with surroundings(model):
        found = Found(inputs)
        for restart in range(restarts):
            places = found.standing()
            if len(places) == 0:
                break
            draws = noise[places].at(restart)
            if restart == 0 and starts is not None:
                points = threat.project(starts.detach(), inputs)
            else:
                points = _start(inputs[places], threat, draws.at(0))
            best, highest = points, inputs.new_full((len(places),), -float("inf"))
            for query in range(queries):
                if query > 0:
                    area = share / 2 ** halvings(query, queries)
                    points = _change(best, inputs[places], threat, area, draws.at(query))
                losses, fallen = look(model, points, labels[places], climbed)
                stay = found.record(places, points, losses, fallen)
                higher = losses > highest
                highest = torch.where(higher, losses, highest)
                best = torch.where(per_image(higher, best), points, best)
                rows = stay.nonzero()[:, 0]
                if len(rows) < len(stay):
                    places, best, highest, draws = places[rows], best[rows], highest[rows], draws[rows]
                    if len(places) == 0:
                        break
        return found.points


def halvings(query: int, queries: int) -> int:
    """How often the share that a square covers has been halved before this query.

    >>> [halvings(query, 5000) for query in (5, 6, 4000, 4001)]
    [0, 1, 8, 9]
    """
    return sum(10_000 * query > edge * queries for edge in HALVINGS)


def _start(inputs: Tensor, threat: Threat, noise: Noise) -> Tensor:
    pattern = stripes if isinstance(threat, Linf) else tiles
    step = threat.radius * threat.steepest(pattern(_signals(inputs), noise).view_as(inputs))
    return threat.project(inputs + step, inputs)


def _change(best: Tensor, inputs: Tensor, threat: Threat, area: float, noise: Noise) -> Tensor:
    signals, axes = _signals(inputs), tuple(_signals(inputs).shape[2:])
    if isinstance(threat, Linf):
        changed = repaint(_signals(best), signals, threat, side_of(area, axes), noise)
    else:
        changed = reweigh(_signals(best), signals, threat, odd_side_of(area, axes), noise)
    return changed.view_as(best)


def _signals(images: Tensor) -> Tensor:
    """With a channel before the features, where images are vectors."""
    return images[:, None] if images.dim() == 2 else images
