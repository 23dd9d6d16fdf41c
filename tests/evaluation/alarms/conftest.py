from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from retemper.attacks import pgd
from retemper.data import load
from retemper.evaluation.alarms import Alarm, sound
from retemper.evaluation.randomised import majority
from retemper.models import create
from retemper.noise import Noise
from retemper.threats import Linf, Threat


@dataclass(frozen=True)
class Digits:
    """A small network that answers the digits as it should, with images to probe it on."""

    network: nn.Module
    inputs: Tensor
    labels: Tensor
    threat: Threat

    def standing(self, model: nn.Module) -> Tensor:
        """What majority answers and a little PGD leave; where that cannot run, what is answered rightly."""
        try:
            candidates = pgd(model, self.inputs, self.labels, self.threat, steps=20, restarts=2)
        except ValueError:
            candidates = self.inputs
        right = majority(model, self.inputs, draws=5) == self.labels
        return right & (majority(model, candidates, draws=5) == self.labels)

    def sound(self, model: nn.Module, **settings: object) -> dict[str, Alarm]:
        """All alarms by name."""
        noise = Noise.for_batch(self.inputs)
        alarms = sound(model, self.inputs, self.labels, self.standing(model), self.threat, noise, **settings)
        return {alarm.name: alarm for alarm in alarms}


@pytest.fixture(scope="session")
def digits() -> Digits:
    data = load("digits")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create("mlp", shape=data.shape, classes=10)
        inputs, labels = data.train.batch(slice(None))
        optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
        for _ in range(40):
            loss = nn.functional.cross_entropy(network(inputs), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        network.zero_grad()
    inputs, labels = data.test.batch(slice(0, 48))
    return Digits(network.eval(), inputs, labels, Linf(0.1))


class Wrapped(nn.Module):
    """A network with something around it."""

    def __init__(self, network: nn.Module, around: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.around = network, around

    def forward(self, inputs: Tensor) -> Tensor:
        return self.around(self.network, inputs)


@pytest.fixture
def wrapped(digits: Digits) -> Callable[[Callable[[nn.Module, Tensor], Tensor]], nn.Module]:
    """Puts a flaw around the network."""
    return lambda around: Wrapped(digits.network, around).eval()
