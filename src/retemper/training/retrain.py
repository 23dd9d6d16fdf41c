"""Retraining a model in one call: on an objective, or without one on the recipe."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from retemper.checks import in_0_to_1, is_a, plain
from retemper.data import Data
from retemper.errors import SettingError
from retemper.models.smooth import smooth_unless_it_fails
from retemper.objectives import Objective, recipe
from retemper.threats import Linf, Threat, several
from retemper.training.budget import within_budget
from retemper.training.fit import check_fit
from retemper.training.results import Training
from retemper.training.run import train
from retemper.training.settings import read_settings
from retemper.training.stopping import Stopping

USUAL = Linf(8 / 255)  # what most of the field trains and attacks at


def retrain(
    model: nn.Module,
    data: Data,
    objective: Objective | None = None,
    *,
    threat: Threat | Sequence[Threat] | None = None,
    give_up: float | None = None,
    smooth: bool = False,
    out: Path | str | None = None,
    resume: bool = True,
    stopping: Stopping | None = None,
    trackers: Sequence[str] = (),
    progress: bool = True,
    label: str = "training",
    **settings: Any,
) -> Training:
    """Train a model in place, from whatever weights it has.

    Without an objective that is `recipe(threat)`: robustness within the threat, without attacks, and no weight to tune.
    A budget of clean accuracy makes it `recipe(threat, weight)` with the first weight out of 1, 1/2, 1/4 and 1/8 that
    keeps it, each trained from the same start. No attack is needed to choose, as robustness is taken to fall with the
    weight. Where none keeps it, the model is left as it was, activations and all.

    Runs on the device and in the processes that Accelerate finds (`accelerate launch`), which share each batch, so that
    what a term compares within a batch, and batch statistics, are of each one's part; the first one's statistics are
    kept. With `out`, the run is written there: `model.safetensors`, `history.csv`, `training.json`, and until it ends a
    checkpoint an epoch, from which the same call goes on after a kill, to the same result. A run that has ended is
    loaded. Under a budget each weight's training is kept beside these, in a folder of its own. Buffers registered with
    persistent=False are in none of these files: where training changes one, a run with `out` ends with an error.

    Args:
        model: any classifier; its modules' modes are as they were afterwards. Normalisations in evaluation mode whose
            parameters are all frozen stay so while it trains.
        data: with labels that fit the model's outputs.
        objective: such as `CrossEntropy() + 0.1 * ActivationEntropy()`; None for the recipe.
        threat: what the recipe is to be robust within, or several; None for Linf(8 / 255).
        give_up: how much clean accuracy on validation images the recipe may lose against the model as it is given, a
            share in [0, 1]; None for as much as it takes. Against fresh weights, which know nothing yet, every budget
            holds.
        smooth: swap rectifiers for SiLU first (`retemper.models.smooth`): meant to go with the recipe. Where the
            training fails or is stopped, they are rectifiers again.
        out: the folder of the run; None writes nothing.
        resume: go on from what is in `out`; False starts over.
        stopping: end early when a score on validation data no longer rises, with the weights of the best epoch; see
            `retemper.early_stopping`.
        trackers: of Accelerate, such as "tensorboard", beside the CSV.
        progress: show one line that says where it is.
        label: what that line is called.
        **settings: the fields of `Settings`: epochs, batch_size, optimiser, learning_rate, weight_decay,
            schedule, augmentation, precision, seed.

    Returns:
        The training, whose identity says which objective it was; under a budget, that of the weight that was kept.

    Raises:
        SettingError: an unknown or impossible setting, a tracker that is not installed, a threat or budget beside an
            objective, or something of another kind than it should be.
        ModelError: the model does not run on the data, has another number of classes, no parameter to train, no last
            layer that the objective could set, nothing to make smooth, or, with `out`, state that no file keeps; or it
            cannot be differentiated as the objective asks.
        BudgetError: no weight kept enough clean accuracy.
        CheckpointError: `out` holds a damaged checkpoint or another run.
        DivergenceError: a term of the loss or a logit became NaN or infinite; the last good checkpoint is kept.
        OSError: `out` cannot be written.
    """
    is_a(nn.Module, model=model)
    is_a(Data, "retemper.load reads files, arrays and torch datasets", data=data)
    if objective is not None:
        is_a(Objective, "such as CrossEntropy(); retemper.objectives has them", objective=objective)
    if threat is not None:
        several(threat)
    if objective is not None and not (threat is None and give_up is None):
        raise SettingError(
            f"`threat` and `give_up` are those of the recipe, but got them beside the objective {objective!r}; leave "
            "out `objective`, or put the threat into it, as in PGDTraining(threat), and choose its weight with "
            "`retemper.tune`, which has a budget of its own."
        )
    folder = Path(out) if out is not None else None
    run = partial(
        train,
        data=data,
        chosen=read_settings(settings),
        resume=resume,
        stopping=stopping,
        trackers=trackers,
        progress=progress,
    )
    threat = USUAL if threat is None else threat
    if give_up is not None:
        in_0_to_1(give_up=give_up)
        give_up = plain(give_up)
        return within_budget(
            run, model, data, threat, give_up, smooth=smooth, folder=folder, resume=resume, label=label
        )
    run = partial(run, model, objective=objective or recipe(threat), out=folder, label=label)
    if not smooth:
        return run()
    check_fit(model, data)  # before anything is swapped
    with smooth_unless_it_fails(model):
        return run()
