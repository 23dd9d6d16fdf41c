"""Alarms that stronger attacks raise: more steps and restarts still help, or questions alone do better."""

from jaxtyping import Bool
from torch import Tensor

from retemper.attacks.apgd import apgd
from retemper.attacks.square import square
from retemper.evaluation.alarms.alarm import CHECKLIST, OBFUSCATED, Alarm, share
from retemper.evaluation.alarms.subject import Subject, spread

QUERIES = 150
STEPS = 20
LOSSES = ("ce", "margin")


def black_box(subject: Subject, broken: Bool[Tensor, " images"]) -> Alarm:
    """A short Square attack breaks images that attacks along gradients, those marked, have not broken."""
    candidates = square(subject.model, subject.inputs, subject.labels, subject.threat, subject.noise, queries=QUERIES)
    more = subject.wrong(candidates) & ~broken
    return Alarm(
        name="black-box beats white-box",
        effect=float(more.double().mean()),
        threshold=0.1,
        unit="share of images",
        evidence=f"Square with {QUERIES} queries breaks {share(more)} that gradients do not.",
        meaning="Gradients should be of use. Where questions alone do better, gradients are masked.",
        source=f"{OBFUSCATED}; {CHECKLIST}",
    )


def more_budget(subject: Subject, standing: Bool[Tensor, " images"], share_standing: float, most: int) -> Alarm:
    """Images that stood at the end of the evaluation's attacks, a share of all, fall to a little more of the same."""
    effect, evidence = 0.0, "No image stands."
    if standing.any():
        chosen = subject.at(spread(standing, most))
        candidates = chosen.inputs
        for number, loss in enumerate(LOSSES):
            noise = chosen.noise.at(number)
            fresh = apgd(chosen.guide, chosen.inputs, chosen.labels, chosen.threat, noise, steps=STEPS, loss=loss)
            broken = chosen.wrong(candidates)
            candidates = fresh.where(~broken.view(-1, *[1] * (fresh.dim() - 1)), candidates)
        fallen = chosen.wrong(candidates)
        effect = float(fallen.double().mean()) * share_standing
        evidence = f"Another {len(LOSSES)} restarts of {STEPS} steps break {share(fallen)} that stood."
    return Alarm(
        name="more budget helps",
        effect=effect,
        threshold=0.03,
        unit="robust accuracy lost to more of the same",
        evidence=evidence,
        meaning="The attacks had not run out. The figure falls further with more steps or restarts.",
        source=CHECKLIST,
    )
