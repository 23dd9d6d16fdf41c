"""Attacking along the answers, and sounding the alarms again."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from retemper.attacks.apgd import apgd
from retemper.attacks.ascent import check_batch, surroundings
from retemper.attacks.losses import LOSSES
from retemper.checks import at_least_one
from retemper.evaluation.alarms.alarm import Alarm
from retemper.evaluation.alarms.answers import Answer, answers
from retemper.evaluation.alarms.sound import sound
from retemper.evaluation.alarms.subject import Subject
from retemper.evaluation.alarms.trail import follow
from retemper.evaluation.randomised import seeded
from retemper.noise import Noise
from retemper.threats import Threat

TRIED = 8


def answered(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    standing: Bool[Tensor, " images"],
    threat: Threat,
    noise: Noise,
    alarms: Sequence[Alarm],
    *,
    broken: Bool[Tensor, " images"] | None = None,
    steps: int = 40,
) -> tuple[Float[Tensor, "images *shape"], Bool[Tensor, " images"], tuple[Alarm, ...]]:
    """Answer the alarms that ring: attack what stands along each fitting view, and sound the alarms along it.

    Every success is judged on the model. The alarms that are quiet along the one view that silences most are
    answered by it; they keep their effect. The search ends with the first view that silences all.

    Args:
        model: its mode and the global generators stay as they are.
        inputs: a batch within the threat's bounds.
        labels: one an image.
        standing: which images are still to be attacked.
        threat: norm, radius and bounds.
        noise: keyed by image.
        alarms: from `sound` on the same model.
        broken: what `sound` was given.
        steps: of APGD with each of two losses, the cross-entropy and the margin.

    Returns:
        For each image an adversarial input, or the input itself; which images fell; the alarms.
    """
    at_least_one(steps=steps)
    check_batch(inputs, labels, threat)
    candidates, fallen = inputs.detach().clone(), torch.zeros_like(standing)
    best: tuple[Answer, tuple[Alarm, ...]] | None = None
    with surroundings(model), seeded(1, inputs.device):
        subject = Subject.of(model, model, inputs, labels, threat, noise)
        for answer in answers(model, alarms, inputs[:TRIED], labels[:TRIED], threat):
            if best is not None and not _left(best[1], alarms) & set(answer.why):
                continue
            _attack(subject, answer, standing, candidates, fallen, steps)
            left = standing & ~fallen
            fresh = sound(
                model,
                inputs,
                labels,
                left,
                threat,
                noise,
                guide=answer.view,
                broken=fallen if broken is None else fallen | broken,
                images=answer.images,
            )
            if best is None or len(_left(fresh, alarms)) < len(_left(best[1], alarms)):
                best = answer, fresh
    return candidates, fallen, tuple(alarms) if best is None else _silenced(alarms, best[0].name, best[1])


def _attack(subject: Subject, answer: Answer, standing: Tensor, candidates: Tensor, fallen: Tensor, steps: int) -> None:
    """Attack the images left; `candidates` and `fallen` take what falls."""
    for number, loss in enumerate(answer.losses):
        places = (standing & ~fallen).nonzero()[:, 0]
        if len(places) == 0:
            return
        left = subject.at(places)
        if subject.random:
            found = follow(left.along(answer.view), steps, LOSSES[loss]).points
        else:
            found = apgd(
                answer.view,
                left.inputs.to(answer.precision),
                left.labels,
                left.threat,
                left.noise.at(number),
                steps=steps,
                restarts=answer.restarts,
                loss=loss,
            )
        # Rounded to the inputs' own type, a point on the edge may lie outside.
        found = left.threat.project(found.to(left.inputs.dtype), left.inputs)
        # Judged among the whole batch, where each image of a randomised model meets the same draws again.
        whole = candidates.index_put((places,), found)
        new = subject.wrong(whole) & subject.threat.allows(whole, subject.inputs) & standing & ~fallen
        candidates[new] = whole[new]
        fallen |= new


def _left(fresh: Sequence[Alarm], alarms: Sequence[Alarm]) -> set[str]:
    """Which alarms ring still, of those that rang before, or because more budget helps along the view."""
    return {alarm.name for alarm in _silenced(alarms, "it", fresh) if alarm.rings and not alarm.answered_by}


def _silenced(alarms: Sequence[Alarm], answer: str, fresh: Sequence[Alarm]) -> tuple[Alarm, ...]:
    """The alarms as they are after the answer of this name."""
    found = []
    now = {alarm.name: alarm for alarm in fresh}
    for alarm in alarms:
        again = now.get(alarm.name, alarm)
        if alarm.rings and not again.rings:
            evidence = f"{alarm.evidence} With {answer}: {again.evidence}"
            found.append(replace(alarm, answered_by=alarm.answered_by or answer, evidence=evidence))
        else:
            found.append(again if alarm.name == "more budget helps" and again.rings else alarm)
    return tuple(found)
