"""Retraining with a weight that is chosen on validation data: the most robust within a budget of clean accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import nn

from retemper.checks import at_least_one, in_0_to_1, is_number, plain
from retemper.data import Data
from retemper.errors import DivergenceError, SettingError
from retemper.files import write_json
from retemper.models import save
from retemper.models.hashing import architecture_hash, weights_hash
from retemper.models.state import State
from retemper.objectives import Objective, as_spec
from retemper.objectives.presets import ENTROPIC_WEIGHT
from retemper.process_group import join
from retemper.threats import Threat
from retemper.training import retrain
from retemper.training.budget import least_clean
from retemper.training.fit import check_fit
from retemper.training.results import TUNED
from retemper.training.settings import read_settings
from retemper.tuning.folder import AS_IT_WAS, ATTACKED, begin
from retemper.tuning.score import RobustScore, stopping_by
from retemper.tuning.search import Trial, best_of, chosen, following


@dataclass(frozen=True)
class Tuned:
    """What was chosen, and all that was tried.

    Attributes:
        weight: the chosen one; 0 where no retraining within the budget made the model more robust, so that it is as
            it was.
        trials: in order; the first is the model as it was.
    """

    weight: float
    trials: tuple[Trial, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything above."""
        return asdict(self)


@dataclass
class _Tried:
    """A trial, what each attacked image withstood, and the model then; the start where it cannot be chosen."""

    trial: Trial
    withstood: Float[np.ndarray, " images"]
    state: State


def tune(
    model: nn.Module,
    data: Data,
    objective: Callable[[float], Objective],
    threats: Threat | Sequence[Threat],
    *,
    first: float = ENTROPIC_WEIGHT,
    give_up: float = 0.01,
    tries: int = 5,
    images: int = 500,
    patience: int | None = None,
    out: Path | str | None = None,
    resume: bool = True,
    progress: bool = True,
    **settings: Any,
) -> Tuned:
    """Retrain a model several times from where it is, each with another weight, and leave it with the best.

    Best is the largest robust accuracy on validation images, against a cheap attack (APGD with cross-entropy and
    margin, 10 steps each), among the weights that keep clean validation accuracy within the budget; the first weight
    stays unless another is better by more than two standard errors (`retemper.tuning.search.chosen`), and where it does
    no better than the model as it was, the best of all is taken. Robust accuracy here is a figure to choose by: what
    was chosen needs an evaluation on test images. Where a retraining fails or is stopped, the model has the weights
    that it came with.

    Args:
        model: a trained classifier, in place.
        data: train and validation splits are used, test images never.
        objective: what to train on, given a weight, such as `entropic_retraining`.
        threats: the mean of the robust accuracies at these is what counts.
        first: the weight that is tried first; the default is that of `entropic_retraining`.
        give_up: how much clean accuracy may be lost, as a share in [0, 1].
        tries: how many retrainings at most.
        images: validation images that are attacked.
        patience: end each retraining when so many epochs in a row bring no better score, and take its best epoch.
        out: a folder for the best network, `model.safetensors`, and for every try, so that the same call goes on
            after a kill.
        resume: go on from what is in `out`; False starts over.
        progress: show one line that says where it is.
        **settings: of `retemper.retrain`: epochs, learning_rate, ...; not `smooth`, which would leave no model as it
            was to go back to.

    Raises:
        SettingError: no threat, a number out of range, an unknown setting, or no function of a weight.
        CheckpointError: `out` holds another search or run.
        RetemperError: as `retemper.retrain` and `retemper.evaluate` say.
        OSError: `out` cannot be written.
    """
    if isinstance(objective, Objective):
        raise SettingError(
            f"Expected `objective` to be a function of the weight, such as entropic_retraining, but got {objective!r}."
        )
    is_number(first=first)
    if not first > 0:
        raise SettingError(f"Expected `first` to be a weight above 0, but got {first}.")
    in_0_to_1(give_up=give_up)
    at_least_one(tries=tries, images=images)
    first, give_up, tries, images, patience = map(plain, (first, give_up, tries, images, patience))
    if "smooth" in settings:
        raise SettingError(
            "`tune` leaves the model as it was where no weight helps, but `smooth` changes it: first retrain it with "
            "`smooth=True` on CrossEntropy()."
        )
    folder = Path(out) if out is not None else None
    score = RobustScore(data, threats, images=images)
    check_fit(model, data)  # also since layers that are made lazily have no weights before
    if folder is not None:
        identity = {
            "objective": repr(objective(first)),
            "first": first,
            "give_up": give_up,
            "tries": tries,
            "patience": patience,
            "score": repr(score),
            "settings": read_settings(settings).as_dict(),
            "data": data.fingerprint(),
            "start": weights_hash(model),
            "architecture": architecture_hash(model),
        }
        begin(folder, identity, resume=resume)

    def seen(weight: float, name: str, clean: float) -> _Tried:
        place = folder / name / ATTACKED if folder is not None else None
        label = f"{name}: attacking"
        withstood = score.withstood(model, out=place, resume=resume, progress=progress, label=label)
        trial = Trial(weight, clean, float(withstood.mean()))
        return _Tried(trial, withstood, State(model))

    tried = [seen(0.0, AS_IT_WAS, score.clean(model))]
    start, floor = tried[0].state, least_clean(tried[0].trial.clean, give_up)
    stopping = None if patience is None else stopping_by(replace(score, floor=floor), patience)
    try:
        for _ in range(tries):
            weight = following([one.trial for one in tried], floor, first)
            name = f"weight {weight:.4g}"
            if name in {f"weight {one.trial.weight:.4g}" for one in tried}:
                break  # what is left to try differs by less than names tell apart
            start.put_back(model)
            try:
                training = retrain(
                    model,
                    data,
                    objective(weight),
                    out=folder / name if folder is not None else None,
                    resume=resume,
                    stopping=stopping,
                    progress=progress,
                    label=f"{name}: training",
                    **settings,
                )
            except DivergenceError:
                # As bad as can be: the search goes on with smaller weights.
                tried.append(_Tried(Trial(weight, 0.0, 0.0), np.zeros_like(tried[0].withstood), start))
                continue
            tried.append(seen(weight, name, training.chosen["validation_accuracy"]))
            best = best_of([one.trial for one in tried], floor)
            for one in tried[2:]:
                if one.trial is not best:
                    one.state = start  # it will not be chosen any more
    except BaseException:
        start.put_back(model)  # and not with a try that was stopped half way
        raise
    trials = [one.trial for one in tried]
    kept = tried[chosen(trials, [one.withstood for one in tried], floor)]
    kept.state.put_back(model)
    tuned = Tuned(kept.trial.weight, tuple(trials))
    if folder is not None and join().is_main_process:
        # So that an attack on these weights can follow what they were trained on.
        spec = as_spec(objective(tuned.weight)) if tuned.weight > 0 else None
        save(model, folder / "model.safetensors", facts=None if spec is None else {"objective": spec})
        write_json(folder / TUNED, tuned.as_json())
    return tuned
