"""The trained networks that the attack benchmarks run on: four ways of training, on MNIST and CIFAR-10.

LeNet-5 on MNIST, the small CNN on CIFAR-10; SiLU where the input gradient is penalised, since with ReLU that
penalty gains little (2409.20139). They are trained once and kept under `runs/zoo`.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from retemper.data import Data, Split
from retemper.objectives import CrossEntropy, InputGradient, Objective, PGDTraining, entropic_retraining
from retemper.threats import Threat, parse
from retemper.training import fresh, retrain

FOLDER = Path("runs/zoo")
WAYS = ("plain", "entropic", "input-gradient", "pgd")
NETWORKS = {"mnist": "lenet5", "mnist-3-8": "lenet5", "cifar10": "small-cnn"}
EPOCHS = {"mnist": 3, "mnist-3-8": 3, "cifar10": 12}
# Radii at which adversarial training and the penalty aim: where the networks keep some accuracy.
AIMS = {"mnist": "linf:0.2", "mnist-3-8": "linf:0.2", "cifar10": "linf:4/255"}


@dataclass(frozen=True)
class Member:
    """One network of the zoo."""

    data: str
    way: str
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.data}, {self.way}"


def network(member: Member, data: Data) -> nn.Module:
    """The trained network of this name, read back where it has been trained before."""
    activation = "silu" if member.way == "input-gradient" else "relu"
    model = fresh(NETWORKS[member.data], data, activation=activation, seed=member.seed)
    (aim,) = parse(AIMS[member.data])
    epochs = EPOCHS[member.data]
    folder = FOLDER / f"{member.data}-seed-{member.seed}"
    if member.way in ("plain", "entropic"):
        _train(model, data, CrossEntropy(), epochs, member.seed, folder / "plain")
    if member.way != "plain":
        shorter = 1 if member.way == "entropic" else epochs
        _train(model, data, _objective(member.way, aim), shorter, member.seed, folder / member.way)
    return model.eval()


def _objective(way: str, aim: Threat) -> Objective:
    if way == "entropic":
        return entropic_retraining()
    if way == "input-gradient":
        # The first-order bound of what the aim can do to the loss.
        return CrossEntropy() + aim.radius * InputGradient(of="loss", norm="l1", squared=False)
    return PGDTraining(aim, steps=5)


def _train(model: nn.Module, data: Data, objective: Objective, epochs: int, seed: int, folder: Path) -> None:
    retrain(model, data, objective, out=folder, epochs=epochs, seed=seed, progress=False)


def tabular() -> tuple[nn.Module, Split]:
    """A network on scikit-learn's breast cancer data, each feature scaled to [0, 1], and the half it has not seen."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    inputs = torch.tensor(table.data, dtype=torch.float32)
    low, high = inputs.amin(0), inputs.amax(0)
    inputs, labels = ((inputs - low) / (high - low)).clamp(0, 1), torch.tensor(table.target, dtype=torch.int64)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    rest, test = order[: len(order) // 2], order[len(order) // 2 :]
    train, validation = rest[:-40], rest[-40:]
    data = Data(
        name="breast-cancer",
        train=Split(inputs[train], labels[train]),
        validation=Split(inputs[validation], labels[validation]),
        test=Split(inputs[test], labels[test]),
        classes=tuple(table.target_names.tolist()),
    )
    model = fresh("mlp", data, activation="relu", seed=0)
    retrain(model, data, CrossEntropy(), out=FOLDER / "breast-cancer", epochs=60, batch_size=32, progress=False)
    return model.eval(), data.test
