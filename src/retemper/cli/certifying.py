"""What `retemper certify` does with its options: load, certify, attack, judge, print and write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from retemper.certification import Certificates, certify
from retemper.cli.networks import build
from retemper.data import Data, load
from retemper.environment import describe
from retemper.errors import ModelError, SettingError
from retemper.evaluation import Claim, Evaluation, Interval, Verdict, evaluate, judge, wilson
from retemper.evaluation import budget as attacks
from retemper.files import write_json, write_text
from retemper.report.certified_plot import certified_figure
from retemper.report.svg import to_svg
from retemper.threats import L2, Threat, parse
from retemper.training import check_fit


@dataclass(frozen=True)
class Asked:
    """The options of the command."""

    weights: str
    factory: str | None
    data: str
    classes: tuple[str, ...]
    threats: tuple[Threat, ...]
    split: str
    images: int
    budget: str
    seed: int
    out: Path | None
    resume: bool
    batch_size: int
    progress: bool


@dataclass(frozen=True)
class Found:
    """What came of it."""

    asked: Asked
    data: Data
    certificates: Certificates
    evaluation: Evaluation
    verdict: Verdict | None

    def certified(self, radius: float) -> tuple[float, Interval]:
        """The certified share at a radius, and its Wilson interval at 95 %."""
        held = self.certificates.holds(radius)
        return float(held.mean()), wilson(int(held.sum()), len(held))


def threats(texts: Sequence[str], claim: Claim | None) -> tuple[Threat, ...]:
    """The threats that were asked for and that of the claim, from the smallest radius up.

    Raises:
        SettingError: one of them is not in L2.
    """
    found = [threat for text in texts for threat in parse(text)]
    found += [claim.threat] if claim is not None else []
    for threat in found:
        if not isinstance(threat, L2):
            raise SettingError(
                f"Expected threats in L2, such as l2:0.5, but got {threat}: the certificates rest on Lipschitz "
                "constants in L2. Attack it with `retemper evaluate`."
            )
    return tuple(sorted(dict.fromkeys(found), key=lambda threat: threat.radius))


def run(asked: Asked, claim: Claim | None) -> Found:
    """Certify the images, attack the same ones, and judge the claim by both.

    Raises:
        RetemperError: an option that does not fit, or a network that cannot be certified, before anything long begins.
    """
    attacks(asked.budget)
    data = load(asked.data, classes=asked.classes or None)
    network = build(asked.weights, asked.factory)
    check_fit(network, data)
    split = data.split(asked.split).take(asked.images)
    certificates = certify(network, split, batch_size=asked.batch_size)
    evaluation = evaluate(
        network,
        split,
        asked.threats,
        attacks=attacks(asked.budget, classes=len(data.classes)),
        curve=True,
        batch_size=asked.batch_size,
        seed=asked.seed,
        out=asked.out / "attacks" if asked.out is not None else None,
        resume=asked.resume,
        progress=asked.progress,
    )
    _check(certificates, evaluation)
    verdict = None
    if claim is not None:
        attacked = evaluation.at(claim.threat)
        held = certificates.holds(claim.threat.radius)
        verdict = judge(claim, attacked.standing, ringing=attacked.ringing, certified=held)
    return Found(asked, data, certificates, evaluation, verdict)


def _check(certificates: Certificates, evaluation: Evaluation) -> None:
    """Raise a ModelError where an attack succeeded inside a certificate."""
    distances = evaluation.curves[0].distances
    contradicting = (distances < certificates.radii).nonzero()[0]
    if len(contradicting):
        first = contradicting[0]
        raise ModelError(
            f"Image {first} is certified up to {certificates.radii[first]:g} and yet broken at {distances[first]:g} "
            f"({len(contradicting)} such images): the certificates do not hold for this network."
        )


def table(found: Found) -> Table:
    """One row a radius: what is certified, and what the attacks left standing."""
    data, evaluation = found.data, found.evaluation
    table = Table(
        title=f"{data.name}: {len(evaluation.clean)} {found.asked.split} images, 95 % intervals",
        caption="What is certified no attack can break; the true robust accuracy of these images lies between the two "
        f"columns. Lipschitz constant of the features: {found.certificates.lipschitz:.4g}."
        + (f" Note: {data.note}." if data.note else ""),
    )
    table.add_column("threat")
    table.add_column("certified", justify="right")
    table.add_column("attacked", justify="right")
    table.add_row("none", "", _share(evaluation.clean_accuracy, evaluation.clean_interval))
    for attacked in evaluation.robustness:
        certified = _share(*found.certified(attacked.threat.radius))
        table.add_row(str(attacked.threat), certified, _share(attacked.accuracy, attacked.interval))
    return table


def write(found: Found, out: Path) -> None:
    """Write `certified.json` and `certified.svg`."""
    figure = certified_figure(found.certificates, found.evaluation.curves[0])
    write_text(out / "certified.svg", to_svg(figure, "certified"))
    write_json(out / "certified.json", as_json(found))


def as_json(found: Found) -> dict[str, Any]:
    """Everything that was asked and found."""
    asked, data = found.asked, found.data
    shares = {str(threat): found.certified(threat.radius) for threat in asked.threats}
    return {
        "verdict": found.verdict.as_json() if found.verdict is not None else None,
        "weights": asked.weights,
        "data": {"name": data.name, "note": data.note, "split": asked.split, "fingerprint": data.fingerprint()},
        "environment": describe(),
        "certified": [
            {"threat": threat, "accuracy": accuracy, "interval": interval}
            for threat, (accuracy, interval) in shares.items()
        ],
        "certificates": found.certificates.as_json(),
        **found.evaluation.as_json(),
    }


def _share(share: float, interval: Interval) -> str:
    return f"{100 * share:.1f} % [{100 * interval.low:.1f}-{100 * interval.high:.1f}]"
