"""The report of an evaluation: one HTML page that holds everything it shows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from retemper.evaluation import Curve, Evaluation, Robustness, Verdict
from retemper.evaluation.reference import Reference
from retemper.report import wording
from retemper.report.curve_plot import curve_figure
from retemper.report.sounded import sounded, tally
from retemper.report.strips import Strip, is_image, magnification, strip
from retemper.report.templating import environment, inlined
from retemper.threats import Threat

if TYPE_CHECKING:
    from markupsafe import Markup

_PICTURED = (0.0, 1.0)  # pictures are drawn of images in these bounds


def evaluation_page(
    evaluation: Evaluation,
    *,
    about: Mapping[str, Any],
    verdict: Verdict | None = None,
    reference: Reference | None = None,
) -> str:
    """Lay out an evaluation as one HTML page that asks for nothing else.

    The verdict comes first; without a claim, the worst case at every threat. Both say where alarms ring that
    nothing answered.

    Args:
        evaluation: what was found; its adversarial examples are shown where the inputs are images.
        about: `title`, `model`, `data`, `note` (may be empty), `split`, `classes` (names in order), `command`
            and `environment` (from `retemper.environment.describe`).
        verdict: on a claim.
        reference: the official AutoAttack at one of the evaluation's threats.

    Raises:
        KeyError: the reference is at a threat that was not asked for.
    """
    alarms = sounded(evaluation.robustness)
    strips, factor = _strips(evaluation, about["classes"])
    return (
        environment()
        .get_template("evaluation.html")
        .render(
            about=about,
            evaluation=evaluation,
            images=len(evaluation.clean),
            verdict=verdict,
            attackers=_attackers(evaluation),
            ringing=[alarm for alarm in alarms if alarm.ringing],
            quiet=[alarm for alarm in alarms if not alarm.ringing],
            unanswered=[alarm.name for alarm in alarms if alarm.unanswered],
            untrusted=[found.threat for found in evaluation.robustness if found.ringing],
            tally=tally(alarms),
            curves=_curves(evaluation, verdict),
            strips=strips,
            factor=factor,
            reference=reference,
            ours=evaluation.at(reference.threat) if reference is not None else None,
            environment=", ".join(f"{name} {value}" for name, value in about["environment"].items()),
        )
    )


def _attackers(evaluation: Evaluation) -> list[str]:
    """Who tried to break every image, by name."""
    names = [attack.partition(" (")[0] for attack in evaluation.attacks]
    answered = any(alarm.rings for found in evaluation.robustness for alarm in found.alarms)
    return [*names, "the answers to the alarms"] if answered else names


def _curves(evaluation: Evaluation, verdict: Verdict | None) -> list[tuple[Curve, list[Robustness], "Markup"]]:
    """Each curve with what was found at its threats and with its plot, in the order of the table."""
    threats = [found.threat for found in evaluation.robustness]
    curves = []
    for number, curve in enumerate(evaluation.curves):
        there = (found for found in evaluation.robustness if _on(curve, found.threat))
        found = sorted(there, key=lambda each: each.threat.radius)
        claim = verdict.claim if verdict is not None and _on(curve, verdict.claim.threat) else None
        name = f"curve {number}"
        plot = inlined({name: curve_figure(curve, [each.threat for each in found], claim)})[name]
        curves.append((curve, found, plot))
    return sorted(curves, key=lambda entry: min(threats.index(each.threat) for each in entry[1]))


def _on(curve: Curve, threat: Threat) -> bool:
    return (threat.norm, threat.bounds) == (curve.norm, curve.bounds)


def _strips(evaluation: Evaluation, classes: tuple[str, ...]) -> tuple[list[tuple[str, list[Strip]]], float]:
    """The pictures under their threats, and by how much all differences are magnified."""
    pictured = [
        (found.threat, [example for example in found.examples if is_image(example)])
        for found in evaluation.robustness
        if found.threat.bounds == _PICTURED
    ]
    every = [example for _, examples in pictured for example in examples]
    factor = magnification(every)
    # A model may know classes that the data do not name.
    most = max((max(example.label, example.predicted) for example in every), default=-1)
    names = [*classes, *(str(number) for number in range(len(classes), most + 1))]
    strips = [
        (wording.threat(threat), [strip(example, names, factor) for example in examples])
        for threat, examples in pictured
        if examples
    ]
    return strips, factor
