"""The paper's experiment: what differential training does to two classes of CIFAR-10 (Nar et al. 2019).

The same network is trained with cross-entropy and with the pair loss, each with the optimiser that suits it on
validation data, for a usual number of epochs and for so many that next to no training image is answered wrongly.
"""

from pathlib import Path

from retemper.data import Data, load
from retemper.errors import SettingError
from retemper.files import write_json
from retemper.models import predict
from retemper.objectives import CrossEntropy, Objective, differential_training
from retemper.studies.attacking import attacked
from retemper.studies.broken import SPLITS, Experiment, Network, Outcome
from retemper.studies.ways import Trial, Way, tuned
from retemper.threats import L2

LOSSES: dict[str, Objective] = {"cross-entropy": CrossEntropy(), "differential": differential_training(0)}
OPTIMISERS = (("adam", 1e-3), ("adam", 3e-4), ("sgd", 0.1), ("sgd", 0.03), ("sgd", 0.01), ("sgd", 0.003))


def candidates(loss: str, model: str) -> list[Way]:
    """The ways that validation data chooses from: the loss with each optimiser."""
    return [
        Way(f"{loss}-{name}-{rate:g}", LOSSES[loss], model, settings={"optimiser": name, "learning_rate": rate})
        for name, rate in OPTIMISERS
    ]


def run(experiment: Experiment, out: Path | str, *, progress: bool = True) -> Outcome:
    """Choose, train and attack; the same call goes on where a killed one was.

    Args:
        experiment: what is run.
        out: a folder for the networks, what is known of their images, and `outcome.json`.
        progress: show one line that says where it is.

    Raises:
        RetemperError: the data or a setting is wrong, or `out` holds something else.
        OSError: `out` cannot be written.
    """
    folder = Path(out)
    data = load(experiment.data, classes=experiment.classes or None)
    if len(data.classes) != 2:
        raise SettingError(
            f"The experiment is about two classes, but {data.name} has {len(data.classes)}; name two with --classes."
        )
    ways: dict[str, Way] = {}
    trials: list[Trial] = []
    for loss in LOSSES:
        ways[loss], of_loss = tuned(
            candidates(loss, experiment.model),
            data,
            [L2(experiment.radii[0])],
            folder / "tuning",
            epochs=experiment.epochs,
            images=experiment.images,
            progress=progress,
        )
        trials += of_loss
    networks = [
        _network(experiment, data, loss, ways[loss], budget, seed, folder, progress=progress)
        for seed in range(experiment.seeds)
        for budget in experiment.budgets
        for loss in LOSSES
    ]
    chosen = {loss: way.name for loss, way in ways.items()}
    outcome = Outcome(experiment, chosen, tuple(trials), tuple(networks))
    write_json(folder / "outcome.json", outcome.as_json())
    return outcome


def _network(
    experiment: Experiment,
    data: Data,
    loss: str,
    way: Way,
    budget: str,
    seed: int,
    folder: Path,
    *,
    progress: bool,
) -> Network:
    place = folder / budget / f"{loss}-{seed}"
    model, _ = way.train(data, place, epochs=experiment.budgets[budget], seed=seed, progress=progress)
    splits = {
        name: attacked(
            model,
            getattr(data, name).take(experiment.images),
            experiment.threats,
            place / name,
            progress=progress,
            label=f"{loss}, {budget}, seed {seed}, {name}",
        )
        for name in SPLITS
    }
    outputs, labels = predict(model, data.train.batches(512))
    return Network(loss, budget, seed, int((outputs.argmax(1) != labels).sum()), splits)
