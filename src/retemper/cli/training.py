"""What `retemper train` does: one training, or several from which validation data choose the weight of a term."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.table import Table
from rich.text import Text
from torch import nn

from retemper.cli.plain_table import plain_table
from retemper.cli.terminal import Terminal
from retemper.data import Data
from retemper.errors import SettingError
from retemper.evaluation.processes import Processes
from retemper.models import load
from retemper.objectives import PRESETS, Mimic, Preset, mimicking, preset
from retemper.threats import Threat
from retemper.training import check_fit, fresh, retrain
from retemper.tuning import Tuned, early_stopping, tune

MIMIC, RECIPE, AUTO = "mimic", "recipe", "auto"
GIVE_UP = 0.01  # where nothing is said, of what chooses by robust accuracy
_SHOWN = 4096  # training images that the robust network is measured on, the first ones


@dataclass(frozen=True)
class Asked:
    """What both ways share: `presets` are the objectives by name, `settings` those of `retemper.training.Settings`.

    `threat_named` says whether `threats` were asked for or are the default. `smooth` swaps activations first. `give_up`
    is the budget of clean accuracy, None where nothing is said; `patience` that of early stopping, None without it.
    """

    network: nn.Module
    data: Data
    threats: list[Threat]
    out: Path
    presets: Mapping[str, Preset]
    settings: dict[str, Any]
    threat_named: bool
    smooth: bool
    give_up: float | None
    patience: int | None
    resume: bool
    progress: bool


def begun(start: Path | None, model: str | None, activation: str | None, data: Data, seed: int) -> nn.Module:
    """The network that training begins with: the one in a file, or a fresh one.

    Raises:
        SettingError: a network by name beside a file, or an activation where the network has its own.
        RetemperError: it cannot be built or loaded.
    """
    own = model is not None and ":" in model
    if start is not None and model is not None and not own:
        raise SettingError(
            f"Expected --from or a network by name, but got {start} and {model}; the file says which network it is: "
            "leave out --model."
        )
    if activation is not None and (start is not None or own):
        raise SettingError(
            f"--activation is that of a fresh network by name, but got {activation!r} beside {start or model}, which "
            "has its own; leave it out (--smooth swaps ReLU for SiLU)."
        )
    if start is not None:
        return load(start, model)
    return fresh(model or "small-cnn", data, activation=activation or "relu", seed=seed)


def check_objective(objective: str, like: Path | None) -> None:
    """Make sure that there is such an objective, and a network to mimic where one is needed, and nowhere else.

    Raises:
        SettingError: it is not so.
    """
    name, _, _ = objective.strip().partition(":")
    if name not in (known := (*PRESETS, MIMIC)):
        raise SettingError(f"Expected an objective out of {', '.join(known)}, but got {objective!r}.")
    if name == MIMIC and like is None:
        raise SettingError(
            "Expected --like with the weights of a robust network for `mimic` to retrain towards, but got none; pass "
            "--like robust.safetensors."
        )
    if name != MIMIC and like is not None:
        raise SettingError(f"--like goes with --objective {MIMIC} alone, but got {objective!r}; leave out --like.")


def presets_with(like: Path, factory: str | None, data: Data, batch_size: int) -> dict[str, Preset]:
    """The objectives by name, `mimic` among them, with a robust network's profile on training images as its target.

    Raises:
        RetemperError: the weights cannot be read, or do not fit the data.
    """
    robust = load(like, factory)
    check_fit(robust, data)
    return PRESETS | {MIMIC: mimicking(Mimic.of(robust, data.train.take(_SHOWN).batches(batch_size)))}


def train_once(asked: Asked, objective: str, *, trackers: Sequence[str]) -> None:
    """Train on an objective as the command line spells it, and say what came out.

    Raises:
        SettingError: an unknown objective, a threat for what has no use for it or several for what trains against
            one, or a budget for what has none.
    """
    way, loss = preset(objective, asked.threats, asked.presets)
    if asked.patience is None and not way.against_threat and asked.threat_named:
        raise SettingError(
            f"{objective!r} trains against no threat, but got {', '.join(map(str, asked.threats))}; leave out "
            "--threat, or pass --patience to choose an epoch by it."
        )
    within_budget = objective.strip() == RECIPE and asked.give_up is not None
    if asked.give_up is not None and asked.patience is None and not within_budget:
        raise SettingError(
            f"--give-up goes with `{RECIPE}` (without a weight), `{AUTO}` and --patience, but got {objective!r}; leave "
            "it out."
        )
    stopping = None
    if asked.patience is not None:
        give_up = GIVE_UP if asked.give_up is None else asked.give_up
        stopping = early_stopping(asked.network, asked.data, asked.threats, give_up, asked.patience)
    training = retrain(
        asked.network,
        asked.data,
        None if within_budget else loss,
        threat=asked.threats if within_budget else None,
        give_up=asked.give_up if within_budget else None,
        smooth=asked.smooth,
        out=asked.out,
        resume=asked.resume,
        stopping=stopping,
        trackers=trackers,
        progress=asked.progress,
        **asked.settings,
    )
    if not Processes().is_main:
        return
    kept = training.chosen
    console = Terminal()
    trained = f" for {len(training.history)} epochs, {training.seconds:.1f} s."
    console.print(Text.assemble("Trained on ", (training.identity["objective"], "bold"), trained))
    if stopping is not None:
        epoch, at = training.history.index(kept) + 1, ", ".join(map(str, asked.threats))
        if kept["score"] < 0:
            typer.echo(f"No epoch kept within --give-up {give_up:g}; kept epoch {epoch}, the most accurate.")
        else:
            typer.echo(f"Kept epoch {epoch}: score {kept['score']:.1%}, robust accuracy on validation images at {at}.")
    typer.echo(f"Validation accuracy {kept['validation_accuracy']:.1%}, loss {kept['loss']:.4g}.")
    typer.echo(f"Written: {asked.out / 'model.safetensors'}")


def train_tuned(asked: Asked, name: str) -> None:
    """Train with several weights, keep the best network, and say what each weight reached.

    Raises:
        SettingError: an unknown objective, one without a weight, or activations to swap.
    """
    if asked.smooth:
        raise SettingError(
            f"`{AUTO}` leaves the network as it was where no weight helps, but --smooth changes it; first train with "
            "`--smooth --objective plain`, then with `auto` --from there."
        )
    chosen, _ = preset(name, asked.threats, asked.presets)
    if chosen.weight is None:
        raise SettingError(f"The objective {name!r} has no weight to choose; write {name!r} without `:auto`.")
    tuned = tune(
        asked.network,
        asked.data,
        lambda weight: chosen.build(asked.threats, weight),
        asked.threats,
        first=chosen.weight,
        give_up=GIVE_UP if asked.give_up is None else asked.give_up,
        patience=asked.patience,
        out=asked.out,
        resume=asked.resume,
        progress=asked.progress,
        **asked.settings,
    )
    if not Processes().is_main:
        return
    console = Terminal()
    console.print(_table(tuned))
    if tuned.weight == 0:
        console.print("No weight made the network more robust within the budget: it is as it was.")
    typer.echo(f"Written: {asked.out / 'model.safetensors'}")


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
