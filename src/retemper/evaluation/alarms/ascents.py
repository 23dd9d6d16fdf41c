"""Alarms that plain ascents raise: saturation, one step ahead of many, no rise, and a radius without limit."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from retemper.errors import ModelError
from retemper.evaluation.alarms.alarm import CHECKLIST, INDICATORS, OBFUSCATED, Alarm, share
from retemper.evaluation.alarms.subject import Subject
from retemper.evaluation.alarms.trail import Trail, follow
from retemper.evaluation.views import Double
from retemper.models import logits

STEPS = 15
UNBOUNDED_STEPS = 20


def saturated_logits(subject: Subject, iterated: Trail) -> Alarm:
    """PGD on the textbook cross-entropy in float32 leaves more than PGD on log-odds, in float32 or float64."""
    textbook = follow(subject, STEPS, _textbook).fallen
    ways = {"log-odds, which no scale saturates": iterated.fallen}
    precise = _in_double(subject)
    if precise is not None:
        ways["log-odds in float64"] = precise
    way, fallen = max(ways.items(), key=lambda item: int(item[1].sum()))
    effect = _net(fallen, textbook)
    return Alarm(
        name="saturated logits",
        effect=effect,
        threshold=0.1,
        unit="share of images that stand only against textbook cross-entropy",
        evidence=f"PGD with {STEPS} steps on the float32 cross-entropy breaks {share(textbook)}, on {way}, "
        f"{int(fallen.sum())}.",
        meaning="Logits so large that the softmax rounds to 0 and 1 leave no gradient. Figures from attacks on the "
        "plain cross-entropy are worth nothing; scale the logits down.",
        source="Carlini & Wagner 2017 (1608.04644); Athalye et al. 2018 (1802.00420)",
    )


def one_step(subject: Subject, iterated: Trail) -> Alarm:
    """One step of the whole radius breaks more than many small ones."""
    once = follow(subject, 1).fallen
    effect = _net(once, iterated.fallen)
    return Alarm(
        name="one step beats many",
        effect=effect,
        threshold=0.1,
        unit="share of images",
        evidence=f"One step breaks {share(once)}, {STEPS} steps break {int(iterated.fallen.sum())}.",
        meaning="Iterated attacks get stuck where the loss is rough or flat, so that what they leave is no measure.",
        source=f"{OBFUSCATED}; {CHECKLIST}",
    )


def no_rise(subject: Subject, iterated: Trail) -> Alarm:
    """Along an iterated attack the loss rises by less than a hundredth of the span of the logits."""
    with torch.no_grad():
        outputs = logits(subject.guide, subject.inputs)
    flat = ~iterated.fallen & (iterated.rise <= 0.01 * (outputs.amax(1) - outputs.amin(1)))
    effect = float(flat.double().mean())
    return Alarm(
        name="loss not rising",
        effect=effect,
        threshold=0.1,
        unit="share of images whose loss does not rise",
        evidence=f"Along {STEPS} steps the loss of {share(flat)} rises by less than a hundredth of the span of their "
        "logits.",
        meaning="The attack goes nowhere: the gradient does not lead uphill.",
        source=INDICATORS,
    )


def unbounded(subject: Subject) -> Alarm:
    """Images stand against an attack that may change everything within the bounds."""
    corners = [torch.full_like(subject.inputs[:1], bound) for bound in subject.threat.bounds]
    everything = subject.threat.with_radius(float(subject.threat.distance(corners[0], corners[1])))
    standing = ~follow(subject.under(everything), UNBOUNDED_STEPS).fallen
    effect = float(standing.double().mean())
    return Alarm(
        name="unbounded attack fails",
        effect=effect,
        threshold=0.1,
        unit="share of images that stand at any radius",
        evidence=f"{share(standing)} stand against {UNBOUNDED_STEPS} steps within the bounds alone.",
        meaning="With no radius every image can be turned into another one. An attack that does not find that finds "
        "little at a small radius either.",
        source=f"{OBFUSCATED}; {CHECKLIST}",
    )


def _textbook(logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"]) -> Float[Tensor, " images"]:
    return F.cross_entropy(logits, labels, reduction="none")


def _in_double(subject: Subject) -> Tensor | None:
    """What falls along the guide in float64; None where it is so already, or cannot be."""
    if subject.inputs.dtype == torch.float64:
        return None
    try:
        model, guide = Double(subject.model), Double(subject.guide)
        points = follow(replace(subject, model=model, guide=guide, inputs=subject.inputs.double()), STEPS).points
    except ModelError:
        return None
    # What falls is judged on the model as it is, at inputs of its own type.
    return subject.wrong(subject.threat.project(points.to(subject.inputs.dtype), subject.inputs))


def _net(ours: Tensor, theirs: Tensor) -> float:
    """By how much of all images one attack breaks more than the other."""
    return float((ours.double() - theirs.double()).mean())
