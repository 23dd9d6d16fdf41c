"""Alarms that the outputs alone raise: at random, probabilities, hanging on the mode or on neighbours, odd inputs."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.errors import ModelError
from retemper.evaluation.alarms.alarm import CHECKLIST, OBFUSCATED, Alarm, share
from retemper.evaluation.alarms.subject import Subject
from retemper.evaluation.randomised import DRAWS, RANDOM, change, randomness
from retemper.models import logits

HANGS = 0.02  # of the span of the logits: above what chance leaves in the mean of DRAWS random answers
GROUP = 2


def random_answers(subject: Subject) -> Alarm:
    """Two answers to the same input differ by more than rounding."""
    effect = randomness(subject.guide, subject.inputs)
    return Alarm(
        name="random answers",
        effect=effect,
        threshold=RANDOM,
        unit="change of the logits from one draw to the next, over their span",
        evidence=f"Two answers to the same {len(subject)} images differ by {effect:.2g} of the span of their logits.",
        meaning=f"Single gradients and single answers are noisy. Robust accuracy is that of the majority of {DRAWS} "
        "draws, and attacks must climb the expectation over draws.",
        source=OBFUSCATED,
    )


def probabilities(subject: Subject) -> Alarm:
    """All outputs of an image lie in [0, 1]."""
    with torch.no_grad():
        outputs = logits(subject.guide, subject.inputs)
    inside = ((outputs >= 0) & (outputs <= 1)).all(1)
    effect = float(inside.double().mean())
    return Alarm(
        name="probabilities instead of logits",
        effect=effect,
        threshold=0.9,  # logits of an honest network lie in [0, 1] together now and then, hardly ever on most images
        unit="share of images whose outputs all lie in [0, 1]",
        evidence=f"The outputs of {share(inside)} lie between 0 and 1.",
        meaning="Losses take outputs for logits: probabilities close to 0 and 1 leave them no gradient. Return what "
        "goes into the softmax.",
        source=CHECKLIST,
    )


def training_mode(subject: Subject, was_training: bool) -> Alarm:
    """Answers hang on the mode that the model came in, or, in evaluation mode, on an image's neighbours."""
    neighbours, mode = 1.0, 0.0
    evidence = "The model cannot answer an image alone."
    if answers_alone(subject):
        neighbours = _neighbours(subject)
        evidence = f"Among other neighbours an image's logits change by {neighbours:.2g} of their span."
    if was_training:
        with torch.no_grad():
            mode = min(1.0, change(logits(subject.model, subject.inputs), _in_training(subject)))
        evidence += f" The model came in training mode, in which they change by {mode:.2g}."
    alarm = Alarm(
        name="training mode",
        effect=max(neighbours, mode),
        threshold=HANGS,
        unit="change of the logits over their span",
        evidence=evidence,
        meaning="A model that normalises by its batch or drops units has no answer of its own to an image. Call "
        "`model.eval()`; in the forward pass, pass `self.training` to functional dropout and keep running statistics.",
        source=CHECKLIST,
    )
    # Every attack and every judgement runs in evaluation mode: only what that mode leaves is not answered.
    return replace(alarm, answered_by="evaluation mode") if neighbours <= HANGS < mode else alarm


def unused_bounds(subject: Subject) -> Alarm:
    """The inputs fill a small part of the bounds, as those do that were divided by 255 twice.

    Inputs outside the bounds are refused before any attack (`Threat.check_inputs`).
    """
    low, high = subject.threat.bounds
    least, most = (float(value) for value in torch.aminmax(subject.inputs))
    effect = 1 - (most - least) / (high - low)
    return Alarm(
        name="inputs outside the bounds",
        effect=effect,
        threshold=0.9,  # images of one data set reach close to both bounds, and a tenth of them even if dim
        unit="share of the bounds that no input reaches",
        evidence=f"{len(subject)} inputs reach from {least:.3g} to {most:.3g}, within bounds of {low:g} to {high:g}.",
        meaning="The radius is meant for inputs that fill their bounds. Check whether the inputs were scaled twice, or "
        "name the bounds that they have. (Inputs that lie outside are refused.)",
        source=f"{CHECKLIST}; the measure is ours",
    )


def answers_alone(subject: Subject) -> bool:
    """Whether the model takes a batch of one image, to which every batch shrinks where images leave it."""
    try:
        with torch.no_grad():
            logits(subject.model, subject.inputs[:1])
    except ModelError:
        return False
    return True


def _neighbours(subject: Subject) -> float:
    """How far logits change when images are asked a few at a time, but for what chance alone changes."""
    draws = DRAWS if subject.random else 1
    together = _mean(subject, len(subject), draws)
    chance = change(together, _mean(subject, len(subject), draws)) if subject.random else 0.0
    return max(0.0, change(together, _mean(subject, GROUP, draws)) - chance)


def _mean(subject: Subject, group: int, draws: int) -> Float[Tensor, "images classes"]:
    """The logits of the images asked in groups, averaged over draws."""
    with torch.no_grad():
        answers = [
            torch.cat([logits(subject.model, part) for part in subject.inputs.split(group)]) for _ in range(draws)
        ]
    return torch.stack(answers).mean(0)


def _in_training(subject: Subject) -> Float[Tensor, "images classes"]:
    """The logits in training mode, after which buffers and mode are what they were."""
    model = subject.model
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    training = [module for module in model.modules() if module.training]
    model.train()
    try:
        with torch.no_grad():
            return logits(model, subject.inputs)
    except ModelError:  # such as batch statistics of one image
        return torch.full_like(logits(model.eval(), subject.inputs), float("inf")).detach()
    finally:
        model.eval()
        for module in training:
            module.training = True
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
