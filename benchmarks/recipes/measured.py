"""What became of each row: the shares that stood, AutoAttack among the attacks, alarms and cost."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from torch import nn

from benchmarks.recipes import rows
from benchmarks.recipes.autoattacked import left
from benchmarks.recipes.costs import cost
from benchmarks.recipes.protocols import Protocol, in_file_names
from retemper.data import Data, load
from retemper.intervals import Interval
from retemper.report.results import Share
from retemper.studies.contest import Gain, Network, Result, run
from retemper.studies.ways import Way

FOLDER = Path("runs/recipes")


@dataclass(frozen=True)
class Row:
    """One recipe or baseline under one protocol.

    Attributes:
        protocol: its name.
        row: its name.
        objective: of the way that validation data chose.
        network: of that way, with its activation.
        tried: how many ways there were.
        clean: the share of test images answered rightly.
        robust: for each threat, the share that stood under our attacks.
        official: for each threat, the share that stood under them and the official AutoAttack too; None where that
            was not run.
        gains: for each threat, over the recipe, on the same images: mean and interval. Of our attacks.
        alarms: for each threat, those that say that the share cannot be trusted.
        cost: of training, over plain training of the network with ReLU.
        quartiles: of that.
        note: what comes near to an attack in it; empty for nothing.
    """

    protocol: str
    row: str
    objective: str
    network: str
    tried: int
    clean: Share
    robust: dict[str, Share]
    official: dict[str, Share | None]
    gains: dict[str, tuple[float, Interval]]
    alarms: dict[str, tuple[str, ...]]
    cost: float
    quartiles: tuple[float, float]
    note: str


def measure(protocol: Protocol, part: int, parts: int) -> list[Row]:
    """Every row of a protocol, or those of one part of several: trained, attacked, and read back where they are known.

    What a part of several returns lacks the gains.
    """
    folder, data = FOLDER / protocol.name, load(protocol.data)
    found = run(rows.contest(protocol), folder, part=part, parts=parts)
    gains = found.gains() if parts == 1 else []
    return [
        _row(protocol, row, found, [gain for gain in gains if gain.rival == row], data, folder) for row in found.chosen
    ]


def _row(protocol: Protocol, row: str, found: Result, gains: list[Gain], data: Data, folder: Path) -> Row:
    way = next(way for way in found.contest.rivals[row] if way.name == found.chosen[row])
    networks = found.of(row)
    ratio = cost(way, data, protocol.model, protocol.epochs, folder / "costs")
    robust: dict[str, Share] = {}
    official: dict[str, Share | None] = {}
    alarms: dict[str, tuple[str, ...]] = {}
    for place, threat in enumerate(protocol.threats):
        standing = [network.standing[place] for network in networks]
        robust[str(threat)] = Share.of(standing)
        official[str(threat)] = None
        if row in rows.OFFICIAL:
            official[str(threat)] = Share.of(
                [_left(way, network, data, protocol, place, folder) for network in networks]
            )
        alarms[str(threat)] = tuple(sorted({name for network in networks for name in network.ringing[place]}))
    return Row(
        protocol.name,
        row,
        repr(way.objective),
        f"{way.model}, {way.activation}",
        len(found.contest.rivals[row]),
        Share.of([network.clean for network in networks]),
        robust,
        official,
        {gain.threat: (gain.mean, gain.interval) for gain in gains},
        alarms,
        ratio.value,
        (ratio.low, ratio.high),
        rows.NOTES.get(row, ""),
    )


def _left(
    way: Way, network: Network, data: Data, protocol: Protocol, place: int, folder: Path
) -> Bool[np.ndarray, " images"]:
    """What the official AutoAttack leaves of the images that our attacks left standing."""
    threat, own = protocol.threats[place], folder / f"{way.name}-{network.seed}"

    def model() -> nn.Module:
        return way.train(data, own, epochs=protocol.epochs, seed=network.seed, progress=False)[0]

    written = own / f"autoattack-{in_file_names(threat)}.json"
    return left(model, data.test, threat, network.standing[place], written)
