"""What `retemper train` does: one training, or several from which validation data choose the weight of a term."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import nn

from retemper.cli.plain_table import plain_table
from retemper.data import Data
from retemper.errors import SettingError
from retemper.objectives import preset
from retemper.threats import Threat
from retemper.training import retrain
from retemper.tuning import Tuned, tune


@dataclass(frozen=True)
class Asked:
    """What both ways share: `settings` are those of `retemper.training.Settings`."""

    network: nn.Module
    data: Data
    threats: list[Threat]
    out: Path
    settings: dict[str, Any]
    resume: bool
    progress: bool


def train_once(asked: Asked, objective: str, *, trackers: Sequence[str]) -> None:
    """Train on an objective as the command line spells it, and say what came out.

    Raises:
        SettingError: an unknown objective, or several radii.
    """
    if len(asked.threats) != 1:
        got = ", ".join(map(str, asked.threats))
        raise SettingError(f"Expected one radius to train against, but got {got}.")
    _, loss = preset(objective, asked.threats[0])
    training = retrain(
        asked.network,
        asked.data,
        loss,
        out=asked.out,
        resume=asked.resume,
        trackers=trackers,
        progress=asked.progress,
        **asked.settings,
    )
    last = training.history[-1]
    console = Console()
    console.print(f"Trained on [bold]{loss!r}[/bold] for {len(training.history)} epochs, {training.seconds:.1f} s.")
    console.print(f"Validation accuracy {last['validation_accuracy']:.1%}, loss {last['loss']:.4g}.")
    console.print(f"Written: {asked.out / 'model.safetensors'}")


def train_tuned(asked: Asked, name: str, *, give_up: float) -> None:
    """Train with several weights, keep the best network, and say what each weight reached.

    Raises:
        SettingError: an unknown objective, or one without a weight.
    """
    chosen, _ = preset(name, asked.threats[0])
    if chosen.weight is None:
        raise SettingError(f"The objective {name!r} has no weight to choose; write {name!r} without `:auto`.")
    tuned = tune(
        asked.network,
        asked.data,
        lambda weight: chosen.build(asked.threats[0], weight),
        asked.threats,
        first=chosen.weight,
        give_up=give_up,
        out=asked.out,
        resume=asked.resume,
        progress=asked.progress,
        **asked.settings,
    )
    console = Console()
    console.print(_table(tuned))
    if tuned.weight == 0:
        console.print("No weight made the network more robust within the budget: it is as it was.")
    console.print(f"Written: {asked.out / 'model.safetensors'}")


def _table(tuned: Tuned) -> Table:
    table = plain_table(
        "Tried on validation images; * chosen", "Robust against a cheap attack: a figure to choose by, not to report."
    )
    for column in ("weight", "clean", "robust"):
        table.add_column(column, justify="right", no_wrap=True)
    for trial in tuned.trials:
        mark = "* " if trial.weight == tuned.weight else ""
        weight = f"{trial.weight:.4g}" if trial.weight > 0 else "as it was"
        table.add_row(mark + weight, f"{trial.clean:.1%}", f"{trial.robust:.1%}")
    return table
