"""Alarms that the gradients raise: zero, or no guide to where the loss rises."""

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.attacks.ascent import ascend, look
from retemper.attacks.losses import cross_entropy
from retemper.errors import GradientError
from retemper.evaluation.alarms.alarm import OBFUSCATED, Alarm, share
from retemper.evaluation.alarms.subject import Subject
from retemper.models import logits
from retemper.threats import per_image

VANISHED = 1e-6  # of the span of the logits: what float32 can just tell from nothing
DIRECTIONS = 16
LENGTHS = (0.25, 0.5, 0.75, 1.0)  # of the radius
BEATEN = 1.5  # with few input coordinates, a handful of directions is about as good as the gradient


def gradient(subject: Subject) -> Float[Tensor, "images *shape"] | None:
    """The input gradients of the guide's log-odds; None where the graph is cut."""
    try:
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
        meaning="Attacks that follow gradients stand still. Look for rounding, casts, detached parts and saturated "
        "activations in the forward pass.",
        source=OBFUSCATED,
    )


def misleading_gradients(subject: Subject, slopes: Float[Tensor, "images *shape"] | None) -> Alarm:
    """Differences along a few random directions show a way up that is steeper than the gradient's (ours)."""
    with torch.no_grad():
        rise, other = _rises(subject, slopes)
        outputs = logits(subject.guide, subject.inputs)
    beaten = (other > BEATEN * rise.clamp_min(0)) & (other > 1e-3 * (outputs.amax(1) - outputs.amin(1)))
    effect = float(beaten.double().mean())
    return Alarm(
        name="detached or non-differentiable parts",
        effect=effect,
        threshold=0.1,
        unit="share of images whose gradient is beaten by random directions",
        evidence=f"For {share(beaten)} the way up that {DIRECTIONS} random directions show raises the loss more than "
        f"{BEATEN:g} times as much as the gradient does.",
        meaning="The gradient is not that of what the model computes. Look for rounding, detached parts, custom "
        "backward passes and activations that jump (k-winners-take-all).",
        source=f"{OBFUSCATED}; the measure is ours",
    )


def _rises(subject: Subject, slopes: Tensor | None) -> tuple[Tensor, Tensor]:
    """The rise of the loss along the gradient, and along what random directions say is uphill."""
    threat, inputs, labels = subject.threat, subject.inputs, subject.labels

    def loss(points: Tensor) -> Tensor:
        return look(subject.guide, points.clamp(*threat.bounds), labels, cross_entropy)[0]

    def rise(direction: Tensor) -> Tensor:
        # Averaged over lengths, since a single one may hit a jump by chance.
        return torch.stack([loss(inputs + length * threat.radius * direction) for length in LENGTHS]).mean(0) - here

    here = loss(inputs)
    uphill = torch.zeros_like(inputs)
    for direction in range(DIRECTIONS):
        step = threat.steepest(subject.noise.at(direction).normal(*inputs.shape[1:], dtype=inputs.dtype))
        difference = loss(inputs + threat.radius / 2 * step) - loss(inputs - threat.radius / 2 * step)
        uphill += per_image(difference, inputs) * step
    along = rise(threat.steepest(slopes)) if slopes is not None else torch.zeros_like(here)
    return along, rise(threat.steepest(uphill))
