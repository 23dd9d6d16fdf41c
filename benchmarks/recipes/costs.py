"""What a way of training costs: its step against the plain step of the same network, in the same run."""

from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.figures import Figure, circumstances, paired_ratio
from benchmarks.step import step
from retemper.data import Data
from retemper.files import read_json, write_json
from retemper.models.layout import channels_last_pays
from retemper.objectives import CrossEntropy
from retemper.studies.ways import Way
from retemper.training.precision import resolve

PAIRS = 8


def cost(way: Way, data: Data, plain_model: str, epochs: int, folder: Path) -> Figure:
    """Its whole training over `epochs` of plain training of a network with ReLU; read back where it is known."""
    written = folder / f"{way.name}.json"
    if not written.is_file():
        found = _step_ratio(way, data, plain_model)
        write_json(written, asdict(found) | {"measured": circumstances()})
    kept = read_json(written)
    kept.pop("measured")
    ratio = Figure(**kept)
    own = way.epochs if way.epochs is not None else epochs

    def of_training(share: float) -> float:
        return (way.base_epochs + own * share) / epochs

    low, middle, high = (of_training(share) for share in (ratio.low, ratio.value, ratio.high))
    return Figure(ratio.name, middle, low, high, ratio.unit, ratio.ours, ratio.peer, ratio.pairs)


def _step_ratio(way: Way, data: Data, plain_model: str) -> Figure:
    precision = resolve("auto", torch.device("cpu"), data.shape)
    layout = channels_last_pays(data.shape)
    own = way.settings.get("precision", precision)
    activation = "silu" if way.smooth else way.activation
    ours = step(
        way.objective,
        own,
        channels_last=layout,
        network=way.model,
        activation=activation,
        shape=data.shape,
        classes=len(data.classes),
    )
    peer = step(
        CrossEntropy(),
        precision,
        channels_last=layout,
        network=plain_model,
        shape=data.shape,
        classes=len(data.classes),
    )
    labels = (f"{way.objective!r}, {activation}, {own}", f"{CrossEntropy()!r}, relu, {precision}")
    return paired_ratio(way.name, ours, peer, labels, PAIRS)
