import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retemper.evaluation.randomised import DRAWS, Expectation, change, fingerprints, is_random, majority, seeded


class Coin(nn.Module):
    """Answers class 1 with the probability that the input says, whatever generator it is told to ask."""

    def __init__(self, source: str = "torch") -> None:
        super().__init__()
        self.source = source

    def forward(self, inputs: Tensor) -> Tensor:
        drawn = {
            "torch": lambda: torch.rand(len(inputs)),
            "numpy": lambda: torch.from_numpy(np.random.rand(len(inputs))).float(),  # noqa: NPY002  # what models do
            "python": lambda: torch.tensor([random.random() for _ in inputs]),
        }[self.source]()
        heads = (drawn < inputs[:, 0]).float()
        return torch.stack([1 - heads, heads], dim=1)


def states() -> tuple[bytes, bytes, object]:
    numpy = np.random.get_state()[1].tobytes()  # noqa: NPY002
    return torch.get_rng_state().numpy().tobytes(), numpy, random.getstate()


@pytest.mark.parametrize("source", ["torch", "numpy", "python"])
def test_no_global_generator_moves_and_the_same_seed_gives_the_same_majority(source: str) -> None:
    inputs, model, before = torch.full((40, 1), 0.5), Coin(source), states()
    first = majority(model, inputs, draws=3, seed=1)
    assert torch.equal(first, majority(model, inputs, draws=3, seed=1))
    assert not torch.equal(first, majority(model, inputs, draws=3, seed=2))
    assert is_random(model, inputs)
    Expectation(model)(inputs)
    assert states() == before


def test_the_generators_are_put_back_after_an_error_too() -> None:
    before = states()
    with pytest.raises(ZeroDivisionError), seeded(3, torch.device("cpu")):
        _ = [torch.rand(1), random.random(), 1 / 0]
    assert states() == before


def test_the_majority_is_the_class_given_most_often() -> None:
    model, inputs = Coin(), torch.tensor([[0.1], [0.9], [0.0], [1.0]])
    assert majority(model, inputs).tolist() == [0, 1, 0, 1]
    # Binomial: with probability 0.45 a single draw says 1 far more often than the majority of 101 does.
    many = torch.full((500, 1), 0.45)
    assert majority(model, many, draws=1).float().mean() > 0.38
    assert majority(model, many, draws=101).float().mean() < 0.25


def test_the_draws_are_counted() -> None:
    calls = []

    class Counted(Coin):
        def forward(self, inputs: Tensor) -> Tensor:
            calls.append(len(inputs))
            return super().forward(inputs)

    majority(Counted(), torch.rand(3, 1))
    assert calls == [3] * DRAWS


def test_the_majority_of_a_model_without_chance_is_its_answer_whatever_mode_it_is_in() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)).train()
    inputs = torch.randn(9, 4)
    assert torch.equal(majority(model, inputs, draws=3), model[0](inputs).argmax(1))
    assert not is_random(model, inputs)
    assert model.training
    assert model[1].training


def test_the_change_is_the_largest_difference_over_the_span() -> None:
    first = torch.tensor([[0.0, 4.0, 1.0], [1.0, 2.0, 3.0]])
    second = torch.tensor([[0.0, 3.0, 1.0], [1.0, 2.0, 3.0]])
    assert change(first, second) == pytest.approx((1 / 4 + 0) / 2)


def test_the_expectation_is_the_mean_over_draws_with_its_gradient() -> None:
    class Noisy(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs * (1 + torch.randn(inputs.shape))

    inputs = torch.ones(200, 2, requires_grad=True)
    view = Expectation(Noisy(), draws=400)
    outputs = view(inputs)
    assert outputs.mean().item() == pytest.approx(1, abs=4 / (400 * 400) ** 0.5)
    (gradient,) = torch.autograd.grad(outputs.sum(), inputs)
    # The mean is linear in the inputs, so that the gradient is the outputs over the inputs.
    assert torch.allclose(gradient, outputs)
    assert torch.equal(view(inputs), outputs)
    assert not torch.equal(view(inputs + 1e-6), outputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fingerprints_hang_on_every_bit_of_their_own_image_alone(dtype: torch.dtype) -> None:
    inputs = torch.rand(5, 3, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    keys = fingerprints(inputs)
    assert torch.equal(fingerprints(inputs[2:3]), keys[2:3])
    assert len(set(keys.tolist())) == 5
    moved = inputs.clone()
    moved[1, 2, 3] = torch.nextafter(moved[1, 2, 3], torch.tensor(2.0, dtype=dtype))
    swapped = inputs.flip(1)
    assert (fingerprints(moved) != keys).tolist() == [False, True, False, False, False]
    assert (fingerprints(swapped) != keys).all()
