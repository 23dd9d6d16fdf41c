"""Each network of a comparison: trained, attacked, profiled, and kept so that a killed run goes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from retemper.comparison.settings import Comparison
from retemper.data import Data
from retemper.errors import CheckpointError, LayerError
from retemper.evaluation import Example, evaluate, plan
from retemper.files import read_json, replacing, write_json
from retemper.information import profile
from retemper.objectives import CrossEntropy, preset
from retemper.report.results import Network, network_as_json, network_from, network_from_json
from retemper.training import fresh, retrain

PROFILED = 300  # images of the layer profile
CHECKED = 16  # training images
KEPT = 8  # adversarial examples of each network, for the report


class Networks:
    """Trains and attacks the networks of one comparison, each in a folder of its own under `out`."""

    def __init__(self, comparison: Comparison, data: Data, out: Path, *, progress: bool) -> None:
        self.comparison, self.data, self.out, self.progress = comparison, data, out, progress

    def check(self) -> None:
        """Compute every objective once, on a few images, so that what cannot be trained on is known at once.

        Raises:
            RetemperError: one of them cannot.
        """
        inputs, labels = self.data.train.take(CHECKED).batch(slice(None))
        with torch.random.fork_rng():
            for objective in self.comparison.objectives:
                _, loss = preset(objective, [self.comparison.training_threat()])
                loss(fresh(self.comparison.model, self.data, activation=self.comparison.activation), inputs, labels)

    def network(self, objective: str, seed: int) -> tuple[Network, list[Example]]:
        """One network's entry and some adversarial examples, computed or read back."""
        folder = self.out / f"seed-{seed}" / objective.replace(":", "-")
        written = folder / "network.json"
        if written.is_file():
            return network_from_json(read_json(written)), _read_examples(folder / "examples.safetensors")
        model, seconds = self._train(objective, seed, folder)
        label = f"seed {seed}, {objective}"
        comparison = self.comparison
        evaluation = evaluate(
            model,
            self.data.split(comparison.split).take(comparison.images),
            comparison.all_threats(),
            attacks=plan(
                comparison.attacks,
                steps=comparison.steps,
                restarts=comparison.restarts,
                classes=len(self.data.classes),
            ),
            alarms=False,
            keep=KEPT,
            progress=self.progress,
            label=f"{label}: attacking",
        )
        try:
            layers = profile(model, self.data.split(comparison.split).take(PROFILED).batches(PROFILED), replicates=0)
        except LayerError:
            # A user's network without visible nonlinearities can be compared all the same.
            layers = []
        network = network_from(objective, seed, evaluation, seconds, layers)
        examples = list(evaluation.robustness[0].examples)
        _write_examples(folder / "examples.safetensors", examples)
        write_json(written, network_as_json(network))
        return network, examples

    def _train(self, objective: str, seed: int, folder: Path) -> tuple[nn.Module, float]:
        """The trained network, and the seconds that all steps on the way to it took."""
        comparison = self.comparison
        way, loss = preset(objective, [comparison.training_threat()])
        model = fresh(comparison.model, self.data, activation=comparison.activation, seed=seed)
        seconds = 0.0
        epochs = comparison.epochs + comparison.retrain_epochs
        if way.retrains:
            settings = comparison.training(seed=seed, epochs=comparison.epochs)
            seconds = self._run(model, CrossEntropy(), settings.as_dict(), folder.parent / "base", f"seed {seed}, base")
            epochs = comparison.retrain_epochs
        settings = comparison.training(seed=seed, epochs=epochs)
        seconds += self._run(model, loss, settings.as_dict(), folder, f"seed {seed}, {objective}")
        return model, seconds

    def _run(self, model: nn.Module, objective: Any, settings: dict[str, Any], folder: Path, label: str) -> float:
        training = retrain(
            model, self.data, objective, out=folder, progress=self.progress, label=f"{label}: training", **settings
        )
        return training.seconds


def _write_examples(path: Path, examples: Sequence[Example]) -> None:
    import safetensors.torch

    if not examples:
        return
    tensors = {
        "original": torch.stack([example.original for example in examples]),
        "adversarial": torch.stack([example.adversarial for example in examples]),
        "facts": torch.tensor([[example.index, example.label, example.predicted] for example in examples]),
    }
    with replacing(path) as temporary:
        safetensors.torch.save_file(tensors, temporary)


def _read_examples(path: Path) -> list[Example]:
    import safetensors.torch

    if not path.is_file():
        return []
    try:
        tensors = safetensors.torch.load_file(path)
    except Exception as error:  # truncated files fail in as many ways as there are readers
        raise CheckpointError(
            f"{path} is damaged ({error}). Delete its folder to compute the network again."
        ) from error
    return [
        Example(index, label, predicted, original, adversarial)
        for (index, label, predicted), original, adversarial in zip(
            tensors["facts"].tolist(), tensors["original"], tensors["adversarial"], strict=True
        )
    ]
