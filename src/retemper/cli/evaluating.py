"""What `retemper evaluate` does with its options: load, attack, compare, judge, print and write."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from retemper.cli.alarm_tables import alarms_table
from retemper.cli.networks import build
from retemper.cli.tables import evaluation_table
from retemper.cli.verdicts import plan_table, reference_table, verdict_line
from retemper.data import Data, Split, load
from retemper.environment import describe
from retemper.errors import SettingError
from retemper.evaluation import (
    Attack,
    Bundle,
    Claim,
    Evaluation,
    Verdict,
    budget,
    plan,
    write_bundle,
)
from retemper.evaluation import evaluate as attack
from retemper.evaluation.passes import Counted
from retemper.evaluation.planner import plan_images
from retemper.evaluation.reference import Reference, autoattack
from retemper.files import write_json, write_text
from retemper.models import logits, read_facts
from retemper.objectives import Objective, from_spec
from retemper.report.evaluation_page import evaluation_page
from retemper.threats import Threat, parse
from retemper.training import check_fit

POWER = 0.9  # the probability of a verdict that `--plan` asks for


@dataclass(frozen=True)
class Asked:
    """The options of the command that say what is attacked, and how."""

    weights: str | None
    factory: str | None
    data: str
    classes: tuple[str, ...]
    threats: tuple[Threat, ...]
    split: str
    images: int
    budget: str
    attacks: tuple[str, ...]
    steps: int | None
    restarts: int | None
    surrogate: str | None
    adaptive: bool
    curve: bool
    alarms: bool
    reference: str
    seed: int
    out: Path | None
    batch_size: int
    progress: bool


@dataclass(frozen=True)
class Found:
    """What came of it.

    Attributes:
        asked: the options.
        data: what was loaded.
        evaluation: of the network.
        verdict: on the claim, if there is one.
        reference: what AutoAttack found, if it was asked for.
        passes: of ours, forward and backward in images, where AutoAttack ran beside.
        seconds: of ours, likewise.
        bundle: where a refutation was written.
    """

    asked: Asked
    data: Data
    evaluation: Evaluation
    verdict: Verdict | None
    reference: Reference | None
    passes: tuple[int, int]
    seconds: float
    bundle: Path | None


def threats(texts: Sequence[str], claim: Claim | None) -> tuple[Threat, ...]:
    """The threats that were asked for; a claim's own is among them."""
    found = [threat for text in texts for threat in parse(text)]
    if claim is not None and claim.threat not in found:
        # A claim alone is what the user cares about: the option's default would only take time.
        found = [claim.threat] if texts == ["linf:0.1"] else [*found, claim.threat]
    return tuple(dict.fromkeys(found))


def print_plan(console: Console, claim: Claim | None) -> None:
    """Say how many images a claim needs.

    Raises:
        SettingError: there is no claim.
    """
    if claim is None:
        raise SettingError(
            "Expected `--claim`, such as 0.41@linf:8/255, beside `--plan`: how many images is its answer."
        )
    console.print(plan_table(claim, plan_images(claim, power=POWER), POWER))


def run(asked: Asked, claim: Claim | None) -> Found:
    """Attack the network, run the reference, judge the claim, and keep a refutation.

    Raises:
        RetemperError: an option that does not fit, before anything long begins.
    """
    if asked.weights is None:
        raise SettingError("Expected a network: the path of its weights, or package.module:factory.")
    if asked.reference not in ("", "autoattack"):
        raise SettingError(f"Expected `--reference autoattack`, but got {asked.reference!r}.")
    if asked.reference and len(asked.threats) > 1:
        raise SettingError(
            f"Expected one threat beside `--reference`, so that its work can be compared with ours, but got "
            f"{', '.join(str(threat) for threat in asked.threats)}."
        )
    if not asked.attacks and (asked.steps, asked.restarts) != (None, None):
        raise SettingError("Steps and restarts are those of `--attacks`; a budget has its own.")
    _attacks(asked, 10)  # before anything is loaded
    data = load(asked.data, classes=asked.classes or None)
    network = build(asked.weights, asked.factory)
    check_fit(network, data)
    split = data.split(asked.split).take(asked.images)
    counted = Counted(network)
    started = time.perf_counter()
    evaluation = attack(
        counted if asked.reference else network,
        split,
        asked.threats,
        attacks=_attacks(asked, len(data.classes)),
        objective=_objective(asked) if asked.adaptive else None,
        surrogate=build(asked.surrogate, None) if asked.surrogate is not None else None,
        curve=asked.curve,
        alarms=asked.alarms,
        batch_size=asked.batch_size,
        seed=asked.seed,
        keep=8,
        out=asked.out,
        progress=asked.progress,
    )
    seconds = time.perf_counter() - started
    reference = autoattack(network, split, asked.threats[0], seed=asked.seed) if asked.reference else None
    verdict = evaluation.verdict(claim) if claim is not None else None
    bundle = _keep_refutation(asked, data, split, network, evaluation, verdict)
    return Found(asked, data, evaluation, verdict, reference, (counted.forwards, counted.backwards), seconds, bundle)


def _attacks(asked: Asked, classes: int) -> Sequence[Attack]:
    if not asked.attacks:
        return budget(asked.budget, classes=classes)
    settings = {"steps": asked.steps, "restarts": asked.restarts}
    return plan(
        asked.attacks, classes=classes, **{name: value for name, value in settings.items() if value is not None}
    )


def _objective(asked: Asked) -> Objective | None:
    """What the network was trained on, if its file says so."""
    assert asked.weights is not None
    if not Path(asked.weights).is_file():
        return None
    spec = read_facts(asked.weights).get("objective")
    return from_spec(spec) if spec else None


def _keep_refutation(
    asked: Asked, data: Data, split: Split, network: nn.Module, evaluation: Evaluation, verdict: Verdict | None
) -> Path | None:
    if asked.out is None or verdict is None or verdict.word != "refuted":
        return None
    claim = verdict.claim
    norm = (claim.threat.norm, claim.threat.bounds)
    points = next(curve.points for curve in evaluation.curves if (curve.norm, curve.bounds) == norm)
    inputs, _ = split.batch(slice(0, 1))
    bundle = Bundle.of(
        network,
        split,
        points,
        torch.tensor(evaluation.at(claim.threat).standing),
        claim,
        classes=logits(network, inputs.to(points.dtype)).shape[1],
        data={"name": data.name, "split": asked.split, "fingerprint": data.fingerprint()},
        attacks=evaluation.attacks,
        seed=evaluation.seed,
        draws=evaluation.draws,
    )
    path = asked.out / "refutation.safetensors"
    write_bundle(path, bundle)
    return path


def show(console: Console, found: Found) -> None:
    """Print the verdict first, then the figures, the reference, and where things were written."""
    if found.verdict is not None:
        console.print(verdict_line(found.verdict))
    console.print(evaluation_table(found.evaluation, found.data, found.asked.split))
    if found.asked.alarms:
        console.print(alarms_table(found.evaluation.robustness))
    if found.reference is not None:
        ours = found.evaluation.robustness[0]
        forwards, backwards = found.passes
        console.print(
            reference_table(
                found.reference,
                ours.standing,
                ours.broken_by,
                forwards=forwards,
                backwards=backwards,
                seconds=found.seconds,
            )
        )
    if found.bundle is not None:
        console.print(f"Kept for anyone to recheck: retemper verify {found.bundle} --model {found.asked.weights}")
    elif found.verdict is not None and found.verdict.word == "refuted":
        console.print("With --out, every adversarial input is kept for anyone to recheck with `retemper verify`.")


def write(found: Found, *, json: Path | None, report: Path | None, command: str) -> None:
    """Write the figures, and the page."""
    if json is not None:
        write_json(json, as_json(found))
    if report is not None:
        asked, data = found.asked, found.data
        about = {
            "title": f"{asked.weights} on {data.name}",
            "model": asked.weights,
            "data": data.name,
            "note": data.note,
            "split": asked.split,
            "classes": data.classes,
            "command": command,
            "environment": describe(),
        }
        write_text(
            report, evaluation_page(found.evaluation, about=about, verdict=found.verdict, reference=found.reference)
        )


def as_json(found: Found) -> dict[str, Any]:
    """Everything that was asked and found."""
    asked, data = found.asked, found.data
    return {
        "verdict": found.verdict.as_json() if found.verdict is not None else None,
        "weights": asked.weights,
        "data": {"name": data.name, "note": data.note, "split": asked.split, "fingerprint": data.fingerprint()},
        "environment": describe(),
        **found.evaluation.as_json(),
        "reference": found.reference.as_json() if found.reference is not None else None,
    }
