"""The alarms on networks that hide adversarial examples and on honest ones, and what answering them finds.

Thresholds were set on one zoo and are scored on another, of other seeds, with CIFAR-10 and two more activations. MNIST
and CIFAR-10 are subsets on which small networks train in seconds; the networks are kept under `runs/alarms`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn

from benchmarks.faulty import FLAWS, TRAINED_FLAWS, with_activation
from retemper.attacks import apgd
from retemper.data import Data, load
from retemper.evaluation.alarms import answered, sound
from retemper.evaluation.randomised import is_random, majority
from retemper.models import logits
from retemper.noise import Noise
from retemper.objectives import CrossEntropy, PGDTraining
from retemper.threats import Threat, parse
from retemper.training import fresh, retrain

FOLDER = Path("runs/alarms")
IMAGES = 100
TRAINED_ON = {"digits": 2000, "mnist": 8000, "cifar10": 8000}
EPOCHS = {"digits": 20, "mnist": 3, "cifar10": 6}
THREATS = {"digits": "linf:0.1", "mnist": "linf:0.1", "cifar10": "linf:2/255"}
STEPS = 40


@dataclass(frozen=True)
class Member:
    """One network of a zoo: on what, which, how it was trained, and its flaw, if any."""

    zoo: str
    data: str
    network: str
    activation: str
    way: str
    seed: int
    flaw: str = ""


@dataclass(frozen=True)
class Row:
    """What was measured on a member: shares of images in [0, 1], and every alarm's effect.

    Attributes:
        member: the network.
        clean: answered rightly.
        pgd: standing against 40 steps of PGD as a textbook has it.
        attacked: standing against APGD with two losses.
        answered: standing after the alarms were answered.
        rings: the alarms that rang.
        silenced: those that an answer silenced, and which.
        effects: of all alarms, before any answer.
    """

    member: Member
    clean: float
    pgd: float
    attacked: float
    answered: float
    rings: tuple[str, ...]
    silenced: dict[str, str]
    effects: dict[str, float]


def zoos() -> Iterator[Member]:
    """All members: first those that thresholds were set on, then those that they are scored on."""
    for zoo, bases in {
        "set": [("digits", "small-cnn", "relu", 0), ("digits", "mlp", "relu", 0), ("mnist", "lenet5", "relu", 0)],
        "scored": [
            ("digits", "lenet5", "tanh", 2),
            ("mnist", "small-cnn", "silu", 2),
            ("mnist", "mlp", "relu", 2),
            ("cifar10", "small-cnn", "relu", 2),
        ],
    }.items():
        for base in bases:
            data, network, activation, seed = base
            for way in ("plain", "pgd"):
                yield Member(zoo, data, network, activation, way, seed)
        for base in bases[::2] if zoo == "set" else [("digits", "lenet5", "relu", 2), bases[-1]]:
            data, network, activation, seed = base
            for flaw in [*FLAWS, *TRAINED_FLAWS]:
                yield Member(zoo, data, network, activation, "plain", seed, flaw)


def run(part: int = 0, parts: int = 1) -> list[Row]:
    """Measure every member of the zoos, or every `parts`-th from `part` on."""
    return [measure(member) for member in list(zoos())[part::parts]]


def measure(member: Member) -> Row:
    """Attack one network, sound the alarms and answer them."""
    data = _data(member.data)
    model = _network(member, data)
    inputs, labels = data.test.batch(slice(0, IMAGES))
    (threat,) = parse(THREATS[member.data])
    noise = Noise.for_batch(inputs)
    right = ~_wrong(model, inputs, labels)
    standing = right & ~_wrong(model, textbook_pgd(model, inputs, labels, threat), labels)
    pgd = _share(standing)
    standing = right.clone()
    for number, loss in enumerate(("ce", "margin")):
        try:
            candidates = apgd(model, inputs, labels, threat, noise.at(number), steps=STEPS, restarts=2, loss=loss)
        except ValueError:  # the graph is cut
            break
        standing &= ~_wrong(model, candidates, labels)
    broken = right & ~standing
    alarms = sound(model, inputs, labels, standing, threat, noise, broken=broken)
    _, fallen, after = answered(model, inputs, labels, standing, threat, noise, alarms, broken=broken)
    return Row(
        member=member,
        clean=_share(right),
        pgd=pgd,
        attacked=_share(standing),
        answered=_share(standing & ~fallen),
        rings=tuple(alarm.name for alarm in alarms if alarm.rings),
        silenced={alarm.name: alarm.answered_by for alarm in after if alarm.rings and alarm.answered_by},
        effects={alarm.name: alarm.effect for alarm in alarms},
    )


def textbook_pgd(model: nn.Module, inputs: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """PGD as most code has it: a random start, float32, torch's cross-entropy, the last point taken."""
    points = threat.random_start(inputs, Noise.for_batch(inputs, seed=1))
    for _ in range(STEPS):
        points = points.detach().requires_grad_()
        loss = F.cross_entropy(model(points), labels, reduction="sum")
        if not loss.requires_grad:  # such code fails here; its user attacks no further
            return points
        (gradient,) = torch.autograd.grad(loss, points)
        points = threat.project(points + threat.radius * 2.5 / STEPS * threat.steepest(gradient), inputs)
    return points.detach()


def table(rows: Sequence[Row]) -> str:
    """The confusion table of each zoo, then what stands on each network."""
    names = list(dict.fromkeys(name for row in rows for name in row.effects))
    lines = [f"{number:>3} {name}" for number, name in enumerate(names, 1)]
    for zoo, title in {"set": "networks that thresholds were set on", "scored": "networks they are scored on"}.items():
        of_zoo = [row for row in rows if row.member.zoo == zoo]
        lines += ["", f"{title:37}" + " ".join(f"{number:>2}" for number in range(1, len(names) + 1)) + "  any  of"]
        for kind in dict.fromkeys(_kind(row) for row in of_zoo):
            chosen = [row for row in of_zoo if _kind(row) == kind]
            counts = " ".join(f"{sum(name in row.rings for row in chosen) or '.':>2}" for name in names)
            lines.append(f"{kind:37}{counts}  {sum(bool(row.rings) for row in chosen):>3} {len(chosen):>3}")
    lines += ["", f"{'standing, % of images':53} clean  PGD-{STEPS}   APGD  answered"]
    for row in rows:
        label = f"{row.member.data} {row.member.network} {row.member.activation}, {_kind(row)}"
        shares = (row.clean, row.pgd, row.attacked, row.answered)
        lines.append(f"{label:52}" + "".join(f"{100 * share:7.1f}" for share in shares) + f"   {_answers(row)}")
    return "\n".join(lines)


def _answers(row: Row) -> str:
    """Which answers silenced alarms, and how many alarms ring on."""
    ringing = len(row.rings) - len(row.silenced)
    names = dict.fromkeys(row.silenced.values())
    return ", ".join([*names, *([f"{ringing} ring on"] if ringing else [])])


def _kind(row: Row) -> str:
    return row.member.flaw or f"honest, {row.member.way}"


@cache
def _data(name: str) -> Data:
    return load(name)


def _network(member: Member, data: Data) -> nn.Module:
    """The network, read back where it has been trained before."""
    model = fresh(member.network, data, activation=member.activation, seed=member.seed)
    if member.flaw in TRAINED_FLAWS:
        model = with_activation(model, TRAINED_FLAWS[member.flaw])
    (threat,) = parse(THREATS[member.data])
    objective = CrossEntropy() if member.way == "plain" else PGDTraining(threat, steps=4)
    trained = member.flaw if member.flaw in TRAINED_FLAWS else member.way
    parts = (member.data, member.network, member.activation, trained, str(member.seed))
    few = Data(
        name=data.name,
        train=data.train.take(TRAINED_ON[member.data]),
        validation=data.validation.take(500),
        test=data.test,
        classes=data.classes,
    )
    retrain(
        model,
        few,
        objective,
        out=FOLDER / "-".join(parts).replace(" ", "-"),
        epochs=EPOCHS[member.data],
        seed=member.seed,
        precision="fp32",
        progress=False,
    )
    return (FLAWS[member.flaw](model) if member.flaw in FLAWS else model).eval()


def _wrong(model: nn.Module, candidates: Tensor, labels: Tensor) -> Bool[Tensor, " images"]:
    if is_random(model, candidates[:16]):
        return majority(model, candidates) != labels
    with torch.no_grad():
        return logits(model, candidates).argmax(1) != labels


def _share(images: Bool[Tensor, " images"]) -> float:
    return float(images.double().mean())
