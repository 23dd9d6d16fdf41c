"""The recipe within a budget of clean accuracy: with the largest weight that keeps it."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from retemper.data import Data
from retemper.errors import BudgetError, CheckpointError, DivergenceError
from retemper.files import read_json
from retemper.identity import REPLACE
from retemper.models import accuracy
from retemper.models import smooth as swap_activations
from retemper.models.inference import device_of
from retemper.models.state import State
from retemper.objectives import recipe
from retemper.process_group import join
from retemper.threats import Threat
from retemper.training.results import (
    ENDED,
    SEARCH,
    Training,
    begin_anew,
    begin_tries_anew,
    forget_end,
    refuse_foreign,
    write_end,
    write_history,
)
from retemper.training.run import EVALUATION_BATCH

WEIGHTS = (1.0, 1 / 2, 1 / 4, 1 / 8)
ROUNDING = 1e-9  # far below the share of one image


def least_clean(before: float, give_up: float) -> float:
    """The clean accuracy that a budget leaves; of shares of images, whose rounding must not decide."""
    return before - give_up - ROUNDING


def within_budget(
    train: Callable[..., Training],
    model: nn.Module,
    data: Data,
    threat: Threat | Sequence[Threat],
    give_up: float,
    *,
    smooth: bool,
    folder: Path | None,
    resume: bool,
    label: str,
) -> Training:
    """Train on the recipe with one weight after another, from the same start, and keep the first within the budget.

    A copy is trained, so that the model stays as it was until one is kept.

    Raises:
        BudgetError: no weight kept enough clean accuracy.
        CheckpointError: another run ended in the folder.
    """
    if folder is not None and resume:
        _check_ended(folder, give_up)
        # A search for a weight (`tune`) has such folders, too.
        if (folder / SEARCH).is_file() or not any(folder.glob("weight *")):
            refuse_foreign(folder)
    if folder is not None and not resume and join().is_main_process:
        forget_end(folder)
        begin_anew(folder / _name(WEIGHTS[0]))  # which says that a search begins here
        begin_tries_anew(folder)
    before = accuracy(model, data.validation.batches(EVALUATION_BATCH))
    tried = copy.deepcopy(model)
    if smooth:
        swap_activations(tried)
    start = State(tried)
    reached: dict[float, str] = {}
    for weight in WEIGHTS:
        objective, name = recipe(threat, weight), _name(weight)
        start.put_back(tried)
        place = folder / name if folder is not None else None
        try:
            training = train(tried, objective=objective, out=place, label=f"{label}, {name}")
        except DivergenceError:
            reached[weight] = "a loss that is no number"
            continue
        clean = training.chosen["validation_accuracy"]
        reached[weight] = f"{clean:.1%}"
        if clean >= least_clean(before, give_up):
            break
    else:
        raise BudgetError(_none_kept(before, give_up, reached))
    if smooth:
        swap_activations(model)
    State(tried).put_back(model.to(device_of(tried)))
    kept = replace(training, identity=training.identity | {"give_up": give_up})
    if folder is not None and join().is_main_process:
        write_history(folder, kept.history)
        write_end(folder, model, kept, objective)
    return kept


def _name(weight: float) -> str:
    return f"weight {weight:g}"


def _check_ended(folder: Path, give_up: float) -> None:
    """Whether what ended in the folder, if anything, ended under this budget; the rest the weights' folders check."""
    ended = folder / ENDED
    if ended.is_file() and read_json(ended)["identity"].get("give_up") != give_up:
        raise CheckpointError(
            f"{folder} holds another finished run: it differs in give_up. Choose another folder, {REPLACE} to replace "
            "it."
        )


def _none_kept(before: float, give_up: float, reached: dict[float, str]) -> str:
    figures = ", ".join(f"{clean} at weight {weight:g}" for weight, clean in reached.items())
    return (
        f"Expected a clean accuracy of at least {before - give_up:.1%} on validation images, {give_up:.1%} less than "
        f"the {before:.1%} before, but the recipe reached {figures}. The model is as it was. Give up more, train for "
        "more epochs, or name a threat of a smaller radius."
    )
