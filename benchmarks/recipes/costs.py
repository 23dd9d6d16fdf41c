"""What a way of training costs: its steps against plain steps of the same network, in the same run."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.figures import Figure, circumstances, paired_ratio
from benchmarks.step import step
from retemper.data import Data
from retemper.files import read_json, write_json
from retemper.models.layout import channels_last_pays
from retemper.objectives import CrossEntropy, Objective
from retemper.studies.ways import Way
from retemper.training.precision import resolve

PAIRS = 8
# Of each side in a pair: an objective that draws which of its terms a step meets has steps of several prices.
STEPS = 8


def cost(way: Way, data: Data, plain_model: str, epochs: int, folder: Path) -> Figure:
    """Its whole training over `epochs` of plain training of a network with ReLU; read back where it is known."""
    written = folder / f"{way.name}.json"
    precision = resolve("auto", torch.device("cpu"), data.shape)
    ours = Side(
        way.objective,
        way.model,
        "silu" if way.smooth else way.activation,
        way.settings.get("precision", precision),
    )
    peer = Side(CrossEntropy(), plain_model, "relu", precision)
    ratio = _kept(written, ours, peer)
    if ratio is None:
        first, second = (_several(side.step(data)) for side in (ours, peer))
        ratio = paired_ratio(way.name, first, second, (str(ours), str(peer)), PAIRS)
        write_json(written, asdict(ratio) | {"measured": circumstances()})
    own = way.epochs if way.epochs is not None else epochs

    def of_training(share: float) -> float:
        return (way.base_epochs + own * share) / epochs

    low, middle, high = (of_training(share) for share in (ratio.low, ratio.value, ratio.high))
    return Figure(ratio.name, middle, low, high, ratio.unit, ratio.ours, ratio.peer, ratio.pairs)


@dataclass(frozen=True)
class Side:
    """What takes the steps: an objective, a network by name, its activation, a precision."""

    objective: Objective
    network: str
    activation: str
    precision: str

    def __str__(self) -> str:
        return f"{self.objective!r}, {self.network}, {self.activation}, {self.precision}"

    def step(self, data: Data) -> Callable[[], object]:
        """One step on batches of the shape of this data."""
        return step(
            self.objective,
            self.precision,
            channels_last=channels_last_pays(data.shape),
            network=self.network,
            activation=self.activation,
            shape=data.shape,
            classes=len(data.classes),
        )


def _several(one: Callable[[], object]) -> Callable[[], None]:
    def several() -> None:
        for _ in range(STEPS):
            one()

    return several


def _kept(written: Path, ours: Side, peer: Side) -> Figure | None:
    """What was measured before; None where nothing was, or of another way by the same name."""
    if not written.is_file():
        return None
    kept = read_json(written)
    kept.pop("measured")
    ratio = Figure(**kept)
    return ratio if (ratio.ours, ratio.peer) == (str(ours), str(peer)) else None
