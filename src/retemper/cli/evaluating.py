"""What `retemper evaluate` does with its options: load, attack, compare with AutoAttack, and judge."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from retemper.cli.networks import build
from retemper.cli.refutation import keep_refutation
from retemper.data import Data, load
from retemper.errors import ModelError, SettingError
from retemper.evaluation import Attack, Claim, Evaluation, Verdict, budget, judge, plan
from retemper.evaluation import evaluate as attack
from retemper.evaluation.passes import counting
from retemper.evaluation.reference import Reference, autoattack, autoattack_package
from retemper.models import read_facts
from retemper.objectives import Objective, from_spec
from retemper.threats import Linf, Threat, parse
from retemper.training import check_fit

USUAL = Linf(0.1)


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
    budget: str | None
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
    resume: bool
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
        seconds: that ours took.
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


def threats(texts: Sequence[str] | None, claim: Claim | None) -> tuple[Threat, ...]:
    """The threats that were asked for, and a claim's own; where there is neither, the usual one."""
    found = [threat for text in texts or () for threat in parse(text)]
    if claim is not None:
        found.append(claim.threat)
    return tuple(dict.fromkeys(found)) or (USUAL,)


def run(asked: Asked, claim: Claim | None) -> Found:
    """Attack the network, run the reference, judge the claim, and keep a refutation.

    Raises:
        RetemperError: an option that does not fit, before anything long begins.
    """
    if asked.weights is None:
        raise SettingError("Expected a network: the path of its weights, or package.module:factory.")
    if asked.reference not in ("", "autoattack"):
        raise SettingError(f"Expected `--reference autoattack`, but got {asked.reference!r}.")
    if asked.reference:
        autoattack_package()
    if asked.reference and len(asked.threats) > 1:
        raise SettingError(
            f"Expected one threat beside `--reference`, so that its work can be compared with ours, but got "
            f"{', '.join(str(threat) for threat in asked.threats)}."
        )
    if asked.attacks and asked.budget is not None:
        raise SettingError("Expected `--budget` or `--attacks`, but got both: a budget is attacks by another name.")
    if not asked.attacks and (asked.steps, asked.restarts) != (None, None):
        raise SettingError("Steps and restarts are those of `--attacks`; a budget has its own.")
    _attacks(asked, 10)  # before anything is loaded
    data = load(asked.data, classes=asked.classes or None)
    network = build(asked.weights, asked.factory)
    check_fit(network, data)
    split = data.split(asked.split).take(asked.images)
    started = time.perf_counter()
    with counting(network) as passes:
        evaluation = attack(
            network,
            split,
            asked.threats,
            attacks=_attacks(asked, len(data.classes)),
            objective=_objective(asked) if asked.adaptive else None,
            surrogate=_surrogate(asked.surrogate, asked.factory) if asked.surrogate is not None else None,
            curve=asked.curve,
            alarms=asked.alarms,
            batch_size=asked.batch_size,
            seed=asked.seed,
            keep=8,
            out=asked.out,
            resume=asked.resume,
            progress=asked.progress,
        )
    seconds = time.perf_counter() - started
    reference = autoattack(network, split, asked.threats[0], seed=asked.seed) if asked.reference else None
    verdict = evaluation.verdict(claim) if claim is not None else None
    bundle = None
    if asked.out is not None and verdict is not None and verdict.word == "refuted":  # by inputs that are at hand
        about = {"name": data.name, "split": asked.split, "fingerprint": data.fingerprint()}
        bundle = keep_refutation(asked.out, verdict.claim, evaluation, network, split, about)
    if claim is not None and reference is not None:
        ours = evaluation.at(claim.threat)
        verdict = judge(claim, ours.standing & reference.standing, ringing=ours.ringing)
    return Found(asked, data, evaluation, verdict, reference, (passes.forwards, passes.backwards), seconds, bundle)


def _surrogate(named: str, factory: str | None) -> nn.Module:
    """The surrogate; weights that do not say which network they belong to are of the one that is attacked."""
    try:
        return build(named, None)
    except ModelError:
        if factory is None or not Path(named).is_file():
            raise
        return build(named, factory)


def _attacks(asked: Asked, classes: int) -> Sequence[Attack]:
    if not asked.attacks:
        return budget(asked.budget or "standard", classes=classes)
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
