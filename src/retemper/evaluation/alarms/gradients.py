"""Alarms that the gradients raise: zero, or no guide to where the loss rises."""

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.attacks.ascent import ascend, look
from retemper.attacks.losses import cross_entropy
from retemper.errors import GradientError
from retemper.evaluation.alarms.alarm import OBFUSCATED, Alarm, share
from retemper.evaluation.alarms.subject import Subject
from retemper.evaluation.randomised import seeded
from retemper.models import logits

VANISHED = 1e-6  # of the span of the logits: what float32 can just tell from nothing
DIRECTIONS = 16
AGREEING = 0.3  # cosine; sixteen random numbers reach it by chance one time in eight


def gradient(subject: Subject) -> Float[Tensor, "images *shape"] | None:
    """The input gradients of the guide's log-odds; None where the graph is cut."""
    try:
        with seeded(0, subject.inputs.device):
            return ascend(subject.guide, subject.inputs, subject.labels, cross_entropy).gradient
    except GradientError:
        return None


def zero_gradients(subject: Subject, slopes: Float[Tensor, "images *shape"] | None) -> Alarm:
    """Across the whole radius the gradient promises no rise of the loss that float32 could tell."""
    zero = torch.ones_like(subject.labels, dtype=torch.bool)
    if slopes is not None:
        with torch.no_grad():
            outputs = logits(subject.guide, subject.inputs)
        promised = subject.threat.radius * (subject.threat.steepest(slopes) * slopes).flatten(1).sum(1)
        zero = promised <= VANISHED * (outputs.amax(1) - outputs.amin(1))
    effect = float(zero.double().mean())
    return Alarm(
        name="zero gradients",
        effect=effect,
        threshold=0.05,
        unit="share of images whose input gradient is zero or vanishes",
        evidence=f"The input gradients of {share(zero)} "
        + ("do not exist: the graph is cut." if slopes is None else "promise no rise of the loss within the radius."),
        meaning="Attacks that follow gradients stand still. Look for rounding, casts, detached parts, reentrant "
        "checkpoints and saturated activations in the forward pass.",
        source=OBFUSCATED,
    )


def misleading_gradients(subject: Subject, slopes: Float[Tensor, "images *shape"] | None) -> Alarm:
    """Along random directions as long as the radius, the loss does not change as the gradient says (ours).

    Measured by the cosine, over the directions, between the changes and what the gradient makes of them. It does
    not hang on the number of coordinates, as the gain along such directions would.
    """
    with torch.no_grad():
        changes, promised = _changes(subject, torch.zeros_like(subject.inputs) if slopes is None else slopes)
        outputs = logits(subject.guide, subject.inputs)
    agreement = torch.cosine_similarity(changes, promised, dim=1, eps=1e-30)
    told = changes.square().mean(1).sqrt() > 1e-3 * (outputs.amax(1) - outputs.amin(1))
    misled = told & (agreement < AGREEING)
    return Alarm(
        name="detached or non-differentiable parts",
        effect=float(misled.double().mean()),
        threshold=0.1,
        unit="share of images whose loss does not change as the gradient says",
        evidence=f"Along {DIRECTIONS} random directions the loss of {share(misled)} does not change as the gradient "
        f"says: the cosine between the two is below {AGREEING:g}.",
        meaning="The gradient is not that of what the model computes. Look for rounding, detached parts, custom "
        "backward passes and activations that jump (k-winners-take-all).",
        source=f"{OBFUSCATED}; the measure is ours",
    )


def _changes(
    subject: Subject, slopes: Float[Tensor, "images *shape"]
) -> tuple[Float[Tensor, "images directions"], Float[Tensor, "images directions"]]:
    """How the loss changes from one end of a direction to the other, and how it would along the gradient."""
    threat, inputs = subject.threat, subject.inputs
    changes, promised = [], []
    for direction in range(DIRECTIONS):
        normal = subject.noise.at(direction).normal(*inputs.shape[1:], dtype=inputs.dtype)
        step = threat.radius * threat.steepest(normal)
        ends = (inputs + step).clamp(*threat.bounds), (inputs - step).clamp(*threat.bounds)
        there, back = (_loss(subject, end) for end in ends)
        changes.append((there - back).double())
        promised.append(((ends[0] - ends[1]) * slopes).flatten(1).sum(1).double())
    return torch.stack(changes, 1), torch.stack(promised, 1)


def _loss(subject: Subject, points: Float[Tensor, "images *shape"]) -> Float[Tensor, " images"]:
    # The same draw for both ends and for the gradient: noise is no sign that the gradient is another's.
    with seeded(0, points.device):
        return look(subject.guide, points, subject.labels, cross_entropy)[0]
