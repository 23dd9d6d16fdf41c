"""Our attacks against those of other libraries, one by one, on the same images in the same run.

Each attack that both sides have is run at the defaults of each, and where these differ in the number of gradient
steps, at an equal number too. What comes back is judged by our own measure: a point counts where the answer is wrong
and, at a fixed radius, `Threat.allows` it. `make bench-peers` installs the libraries into an environment of their
own; one that cannot be imported is left out, and the table says why. Rows that are done are kept under `runs/peers`.
"""

import os
import statistics
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.figures import circumstances, seconds
from benchmarks.libraries import Attack, Duel, Task, absent, duels
from benchmarks.zoo import Member, network
from retemper.data import load
from retemper.evaluation import paired_difference
from retemper.evaluation.passes import counting
from retemper.files import read_json, write_json
from retemper.objectives import CrossEntropy
from retemper.threats import Threat, parse
from retemper.training import fresh, retrain

FOLDER = Path("runs/peers")
IMAGES = 200
THREATS = {"digits": ("linf:0.1", "l2:0.6"), "mnist": ("linf:0.1", "l2:1.5")}  # some of each network's answers hold
PAIRS = 3  # of runs, each pair with a seed of its own
PATIENCE = 1.5  # seconds after which a row begins no other pair
# What a peer is given of the radius, so that its roundings in float32 do not carry it out of the ball.
ROOM = 1 - 1e-6
CLOSER = 0.99  # by one per cent: what counts as a smaller distance


@dataclass(frozen=True)
class Row:
    """One attack of ours beside a peer's.

    Attributes:
        network: the data that it was trained on.
        peer: the library.
        version: its version.
        attack: the name of the attack.
        threat: norm and radius; of the radius minimum-norm attacks know nothing.
        budget: "defaults", or the steps of both.
        nearest: whether the figures are median distances; else they are success rates.
        images: how many, all of them answered rightly.
        ours: our success rate, or median distance; None where most images have no adversarial input.
        theirs: the peer's.
        outside: images for which the peer returned a wrong answer outside the ball, a mean over pairs.
        difference: how much more often ours is better than the peer's: succeeds alone, or is closer by one per cent.
        low: lower end of its interval at 95 %.
        high: upper end.
        our_forwards: in images, a mean over pairs; the model's and the surrogate's.
        our_backwards: in images.
        their_forwards: in images.
        their_backwards: in images.
        time_ratio: our seconds over the peer's, the median over pairs.
        pairs: how many.
        measured: machine, versions and commit.
    """

    network: str
    peer: str
    version: str
    attack: str
    threat: str
    budget: str
    nearest: bool
    images: int
    ours: float | None
    theirs: float | None
    outside: float
    difference: float
    low: float
    high: float
    our_forwards: float
    our_backwards: float
    their_forwards: float
    their_backwards: float
    time_ratio: float
    pairs: int
    measured: dict[str, Any]

    @property
    def peer_better(self) -> bool:
        """Whether the peer is better beyond the noise."""
        return self.high < 0


@dataclass(frozen=True)
class Side:
    """One run of one attack, judged: distances are infinite where the answer is still right."""

    distances: np.ndarray
    inside: np.ndarray
    forwards: int
    backwards: int
    seconds: float


def run(part: int = 0, parts: int = 1) -> list[Row]:
    """Every row, or those of one part of several, read back or measured."""
    missing = absent()
    present = [duel for duel in duels() if duel.peer not in missing]
    networks = [name for name in THREATS if name == "digits" or "RETEMPER_DATA" in os.environ]
    cells = [
        (name, duel, calls)
        for name in networks
        for duel in present
        for calls in ([None] if duel.defaults else []) + ([duel.calls] if duel.calls else [])
    ]
    tasks = {name: _task(name) for name in networks}
    return [_row(name, tasks[name], duel, calls) for name, duel, calls in cells[part::parts]]


def _row(name: str, task: Task, duel: Duel, calls: int | None) -> Row:
    (threat,) = parse(next(text for text in THREATS[name] if text.startswith(duel.norm)))
    budget = "defaults" if calls is None else f"{calls} steps"
    words = (name, duel.peer, duel.attack, str(threat), budget)
    written = FOLDER / ("-".join(words).replace(":", "-").replace(" ", "-") + ".json")
    if written.is_file():
        return Row(**read_json(written))
    ours, theirs = _pairs(task, duel, threat, calls)
    if duel.nearest:
        gained = [mine.distances < CLOSER * other.distances for mine, other in zip(ours, theirs, strict=True)]
        lost = [other.distances < CLOSER * mine.distances for mine, other in zip(ours, theirs, strict=True)]
    else:
        gained, lost = [side.inside for side in ours], [side.inside for side in theirs]
    difference, interval = paired_difference(gained, lost)
    row = Row(
        network=name,
        peer=duel.peer,
        version=version(duel.peer),
        attack=duel.attack,
        threat=str(threat),
        budget=budget,
        nearest=duel.nearest,
        images=len(task.inputs),
        ours=_figure(ours, nearest=duel.nearest),
        theirs=_figure(theirs, nearest=duel.nearest),
        outside=0.0 if duel.nearest else _mean([np.sum(np.isfinite(side.distances) & ~side.inside) for side in theirs]),
        difference=difference,
        low=interval.low,
        high=interval.high,
        our_forwards=_mean([side.forwards for side in ours]),
        our_backwards=_mean([side.backwards for side in ours]),
        their_forwards=_mean([side.forwards for side in theirs]),
        their_backwards=_mean([side.backwards for side in theirs]),
        time_ratio=statistics.median(mine.seconds / other.seconds for mine, other in zip(ours, theirs, strict=True)),
        pairs=len(ours),
        measured=circumstances(),
    )
    write_json(written, asdict(row))
    return row


def _pairs(task: Task, duel: Duel, threat: Threat, calls: int | None) -> tuple[list[Side], list[Side]]:
    ours: list[Side] = []
    theirs: list[Side] = []
    while len(ours) < PAIRS and sum(side.seconds for side in ours + theirs) < PATIENCE:
        seed = len(ours)
        # Which one goes first alternates, so that neither always meets the other's warm caches.
        for mine in (True, False) if seed % 2 else (False, True):
            if mine:
                ours.append(_side(task, duel.ours, threat, threat, seed, calls))
            else:
                narrower = threat.with_radius(threat.radius * ROOM)
                theirs.append(_side(task, duel.theirs, narrower, threat, seed, calls))
    return ours, theirs


def _side(task: Task, attack: Attack, given: Threat, threat: Threat, seed: int, calls: int | None) -> Side:
    fresh = Task(task.model, task.surrogate, task.inputs.clone(), task.labels.clone())
    found: list[Tensor] = []
    torch.manual_seed(seed)  # peers draw from the global generator
    with counting(task.model) as of_model, counting(task.surrogate) as of_surrogate:
        duration = seconds(lambda: found.append(attack(fresh, given, seed, calls)))
    points = found[0].detach()
    with torch.no_grad():
        wrong = task.model(points).argmax(1) != task.labels
    in_bounds = ((points >= threat.bounds[0]) & (points <= threat.bounds[1])).flatten(1).all(1)
    distances = threat.distance(points, task.inputs).masked_fill(~(wrong & in_bounds), torch.inf)
    return Side(
        distances=distances.numpy(),
        inside=(wrong & threat.allows(points, task.inputs)).numpy(),
        forwards=of_model.forwards + of_surrogate.forwards,
        backwards=of_model.backwards + of_surrogate.backwards,
        seconds=duration,
    )


def _figure(sides: list[Side], *, nearest: bool) -> float | None:
    if not nearest:
        return _mean([side.inside.mean() for side in sides])
    middle = _mean([np.median(side.distances) for side in sides])
    return middle if np.isfinite(middle) else None


def _mean(values: list[Any]) -> float:
    return float(np.mean(values))


def _task(name: str) -> Task:
    """The network, a surrogate of it, and the first test images that the network answers rightly."""
    data = load(name)
    if name == "mnist":
        model, surrogate = network(Member(name, "plain"), data), network(Member(name, "plain", seed=1), data)
    else:
        model, surrogate = (_small(seed) for seed in (0, 1))
    inputs, labels = data.test.batch(slice(0, 2 * IMAGES))
    with torch.no_grad():
        right = model(inputs).argmax(1) == labels
    return Task(model, surrogate, inputs[right][:IMAGES], labels[right][:IMAGES])


def _small(seed: int) -> nn.Module:
    data = load("digits")
    model = fresh("small-cnn", data, seed=seed)
    folder = FOLDER / f"digits-seed-{seed}"
    retrain(model, data, CrossEntropy(), out=folder, epochs=10, batch_size=64, seed=seed, progress=False)
    return model.eval()


def table(rows: list[Row]) -> str:
    """The table, the peers left out, and where a peer is better beyond the noise."""
    lines = [
        f"{'network':8}{'peer':14}{'attack':19}{'threat':10}{'budget':14}{'theirs':>8}{'ours':>8}{'outside':>8}"
        f"{'passes':>8}{'time':>7}  more often better (95 %)"
    ]
    lines += [_line(row) for row in rows]
    lines.append("theirs, ours: success rate, or median distance (d); passes, time: ours over theirs")
    lines += [f"{peer} is left out: {why}" for peer, why in absent().items()]
    better = [row for row in rows if row.peer_better]
    lines.append(f"a peer is better beyond the noise in {len(better)} of {len(rows)} rows" + (":" if better else ""))
    lines += [f"  {row.peer} {row.attack}, {row.network} {row.threat}, {row.budget}" for row in better]
    ahead = sum(row.low > 0 for row in rows)
    lines.append(f"ours is better beyond the noise in {ahead}")
    return "\n".join(lines)


def _line(row: Row) -> str:
    theirs, ours = (("-" if value is None else f"{value:.3f}") for value in (row.theirs, row.ours))
    sign = "d" if row.nearest else " "
    passes = (row.our_forwards + row.our_backwards) / (row.their_forwards + row.their_backwards)
    return (
        f"{row.network:8}{row.peer:14}{row.attack:19}{row.threat:10}{row.budget:14}{theirs:>7}{sign}{ours:>7}{sign}"
        f"{row.outside:8.0f}{passes:8.2f}{row.time_ratio:7.2f}  {row.difference:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"
    )
