"""The study of the reported figure: networks trained, chosen on validation images, and looked at in every way."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from torch import Tensor, nn

from retemper.data import Data, load
from retemper.evaluation.reference import autoattack_package
from retemper.files import write_json
from retemper.models import predict
from retemper.studies.experiment import Experiment
from retemper.studies.looks import Seen, flawed, official, standard
from retemper.studies.reported import Network, Outcome
from retemper.studies.ways import Trial, Way, tuned
from retemper.threats import Threat
from retemper.training.budget import least_clean

BATCH = 512


def run(experiment: Experiment, out: Path | str, *, progress: bool = True) -> Outcome:
    """Train, choose and look; the same call goes on where a killed one was.

    Args:
        experiment: what is run.
        out: a folder for the networks, what is known of their images, and `outcome.json`.
        progress: show one line that says where it is.

    Raises:
        RetemperError: the data or a setting is wrong, AutoAttack is asked for and not installed, or `out` holds
            something else.
        OSError: `out` cannot be written.
    """
    if experiment.autoattack:
        autoattack_package()  # or an error, before hours of training
    folder, data = Path(out), load(experiment.data)
    chosen: dict[str, str] = {}
    trials: list[Trial] = []
    networks: list[Network] = []
    for model in experiment.models:
        plain = experiment.plain(model)
        _, (first,) = _tuned([plain], data, experiment, folder, None, progress=progress)
        floor = least_clean(first.clean, experiment.task.give_up)
        entropic, tried = _tuned(experiment.entropic(model), data, experiment, folder, floor, progress=progress)
        chosen[model] = entropic.name
        trials += [first, *tried]
        for kind, way, seed in _all(experiment, plain, entropic, model):
            networks.append(_network(experiment, data, model, kind, way, seed, folder, progress=progress))
    outcome = Outcome(experiment, chosen, tuple(trials), tuple(networks))
    write_json(folder / "outcome.json", outcome.as_json())
    return outcome


def _tuned(
    candidates: list[Way], data: Data, experiment: Experiment, folder: Path, floor: float | None, *, progress: bool
) -> tuple[Way, list[Trial]]:
    return tuned(
        candidates,
        data,
        experiment.task.chosen_by,
        folder,
        epochs=experiment.epochs,
        images=experiment.images,
        progress=progress,
        floor=floor,
    )


def _all(experiment: Experiment, plain: Way, entropic: Way, model: str) -> Iterator[tuple[str, Way, int]]:
    for seed in range(experiment.seeds):
        yield "plain", plain, seed
        yield "entropic", entropic, seed
    if experiment.adversarial:
        yield "pgd", experiment.pgd(model), 0


def _network(
    experiment: Experiment, data: Data, model: str, kind: str, way: Way, seed: int, folder: Path, *, progress: bool
) -> Network:
    place = folder / f"{way.name}-{seed}"
    network, training = way.train(data, place, epochs=experiment.length(kind), seed=seed, progress=progress)
    split = data.test.take(experiment.images)
    seen: dict[Threat, tuple[Seen, ...]] = {}
    for threat in experiment.task.threats:
        found = flawed(network, split, threat)
        label = f"{place.name}: {threat}"
        found.append(standard(network, split, threat, place, progress=progress, label=label))
        if experiment.autoattack and seed == 0 and kind != "plain":
            found += official(network, split, threat, place)
        seen[threat] = tuple(found)
    return Network(model, kind, seed, training.seconds, _right(network, split.batches(BATCH)), seen)


def _right(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Bool[np.ndarray, " images"]:
    outputs, labels = predict(network, batches)
    return (outputs.argmax(1) == labels).cpu().numpy()
