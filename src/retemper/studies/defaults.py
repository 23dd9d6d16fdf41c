"""The defaults on data and networks of several kinds: what entropic retraining gains with them, and what it costs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from retemper.checks import at_least_one
from retemper.data import Data, load
from retemper.environment import describe
from retemper.errors import ModelError, SettingError
from retemper.files import write_json
from retemper.objectives import CrossEntropy, Objective, PGDTraining, entropic_retraining
from retemper.studies.attacking import measured
from retemper.studies.cells import AUTO, DEFAULT, PGD, PLAIN, Cell, Network
from retemper.studies.clocked import clocked
from retemper.threats import L2, Linf, Threat
from retemper.training import check_fit, fresh, retrain
from retemper.tuning import tune


@dataclass(frozen=True)
class Task:
    """How networks are trained and attacked on one data set.

    Attributes:
        threats: PGD trains against the first.
        base_epochs: of plain training from fresh weights.
        epochs: of each retraining from there.
    """

    threats: tuple[Threat, ...]
    base_epochs: int
    epochs: int

    def as_json(self) -> dict[str, Any]:
        """Everything above."""
        return asdict(self) | {"threats": [str(threat) for threat in self.threats]}


# Ours: at these radii plain networks answer a fifth to four fifths of the validation images rightly. The two epochs of
# retraining that the default weight is meant for are only some steps on the small sets, which have five.
TASKS = {
    "digits": Task((Linf(0.1), L2(0.5)), base_epochs=20, epochs=5),
    "mnist": Task((Linf(0.1), L2(1.5)), base_epochs=2, epochs=2),
    "cifar10": Task((Linf(2 / 255), L2(0.25)), base_epochs=5, epochs=2),
    "breast-cancer": Task((Linf(0.1), L2(0.4)), base_epochs=20, epochs=5),
}
MODELS = ("lenet5", "small-cnn", "entropic-cnn", "mlp")


@dataclass(frozen=True)
class Study:
    """What is trained and attacked: every network on every data set.

    Attributes:
        data: keys of `TASKS`.
        models: networks by name.
        seeds: of weights and order, from 0 on; PGD training has the first alone.
        images: attacked, the first ones of test.

    Raises:
        SettingError: a number below one, no data set or an unknown one, or no network.
    """

    data: tuple[str, ...] = tuple(TASKS)
    models: tuple[str, ...] = MODELS
    seeds: int = 3
    images: int = 1000

    def __post_init__(self) -> None:
        at_least_one(seeds=self.seeds, images=self.images)
        if not self.data or not self.models:
            raise SettingError("Expected one data set and one network at least, but got none.")
        if unknown := [name for name in self.data if name not in TASKS]:
            raise SettingError(f"Expected data out of {', '.join(TASKS)}, but got {', '.join(unknown)}.")


@dataclass(frozen=True)
class Found:
    """What the study found.

    Attributes:
        study: what was run.
        cells: each network on each data set.
        skipped: those that do not go together, and why.
        notes: by data set: what a reader of its figures must know.
    """

    study: Study
    cells: tuple[Cell, ...]
    skipped: tuple[str, ...]
    notes: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Everything, image by image."""
        return {
            "study": asdict(self.study),
            "tasks": {name: TASKS[name].as_json() for name in self.study.data},
            "default": repr(entropic_retraining()),
            "skipped": list(self.skipped),
            "notes": self.notes,
            "cells": [cell.as_json() for cell in self.cells],
            "environment": describe(),
        }


def run(study: Study, out: Path | str, *, progress: bool = True) -> Found:
    """Train, retrain in every way and attack; the same call goes on where a killed one was.

    The folder may hold other parts of a larger study: what is there is read back, and only `results.json` is that of
    the last call.

    Args:
        study: what is run.
        out: a folder for the networks, what is known of their images, and `results.json`.
        progress: show one line that says where it is.

    Raises:
        RetemperError: the data, a network or a setting is wrong, or `out` holds something else.
        OSError: `out` cannot be written.
    """
    cells, skipped, notes = [], [], {}
    for source in study.data:
        data, task = load(source), TASKS[source]
        notes[data.name] = data.note
        for model in study.models:
            try:
                check_fit(fresh(model, data), data)
            except ModelError as error:
                skipped.append(f"{model} on {data.name}: {error}")
                continue
            folder = Path(out) / data.name
            networks = [
                _network(study, data, task, model, way, seed, folder, progress=progress)
                for seed in range(study.seeds)
                for way in (PLAIN, DEFAULT, AUTO, *([PGD] if seed == 0 else []))
            ]
            cells.append(Cell(data.name, model, task.threats, tuple(networks)))
    found = Found(study, tuple(cells), tuple(skipped), notes)
    write_json(Path(out) / "results.json", found.as_json())
    return found


def _network(
    study: Study, data: Data, task: Task, model: str, way: str, seed: int, folder: Path, *, progress: bool
) -> Network:
    network = fresh(model, data, seed=seed)
    base = folder / f"{model}-base-{seed}"
    settings: dict[str, Any] = {"seed": seed, "progress": progress}
    retrain(
        network, data, CrossEntropy(), out=base, epochs=task.base_epochs, label=f"{data.name}, {base.name}", **settings
    )
    place = folder / f"{model}-{way}-{seed}"
    (weight, steps), waited = clocked(place, lambda: _retrained(network, data, task, way, place, settings))
    images, label = data.test.take(study.images), f"{data.name}, {place.name}: attacking"
    found = measured(network.eval(), images, task.threats, place / "test", progress=progress, label=label)
    return Network(
        way,
        seed,
        weight,
        steps,
        waited,
        found.clean,
        {each.threat: each.standing for each in found.robustness},
        {each.threat: each.ringing for each in found.robustness},
    )


def _retrained(
    network: nn.Module, data: Data, task: Task, way: str, place: Path, settings: dict[str, Any]
) -> tuple[float | None, float | None]:
    """Retrain a network in place; give the weight that was chosen, or the seconds of its steps."""
    if way == AUTO:
        search = settings | {"out": place, "epochs": task.epochs}
        return tune(network, data, entropic_retraining, task.threats, **search).weight, None
    objectives: dict[str, Objective] = {
        PLAIN: CrossEntropy(),
        DEFAULT: entropic_retraining(),
        PGD: PGDTraining(task.threats[0]),
    }
    label = f"{data.name}, {place.name}: training"
    training = retrain(network, data, objectives[way], out=place, epochs=task.epochs, label=label, **settings)
    return None, training.seconds
