import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from retemper.data import Data
from retemper.errors import ModelError
from retemper.models import Network, create
from retemper.models.hashing import weights_hash
from retemper.objectives import (
    ActivationEntropy,
    CrossEntropy,
    InputGradient,
    Objective,
    PGDTraining,
    differential_training,
    recipe,
)
from retemper.threats import Linf
from retemper.training import retrain
from retemper.training.epoch import steps_per_epoch


@pytest.mark.parametrize(
    "objective", [CrossEntropy(), CrossEntropy() + 0.1 * InputGradient(), recipe(Linf(0.1)), PGDTraining(Linf(0.1))]
)
def test_one_step_is_the_step_of_a_bare_loop(objective: Objective, network: Network, digits: Data) -> None:
    """One epoch of one batch with SGD: the weights move by -rate * gradient of the mean loss over all images."""
    inputs, labels = digits.train.batch(slice(None))
    torch.manual_seed(0)
    bare = create("mlp", shape=digits.shape, classes=10)
    objective.compute(bare, inputs, labels, progress=0.0).total.backward()
    rate = 0.1
    retrain(
        network, digits, objective, epochs=1, batch_size=len(labels), optimiser="sgd", learning_rate=rate,
        schedule="constant", progress=False,
    )  # fmt: skip
    for ours, theirs in zip(network.parameters(), bare.parameters(), strict=True):
        assert theirs.grad is not None
        # Nesterov momentum's first step is (1 + 0.9) times the gradient.
        torch.testing.assert_close(ours, theirs - rate * 1.9 * theirs.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "objective", [CrossEntropy() + 0.1 * ActivationEntropy(), PGDTraining(Linf(0.1), steps=2), differential_training()]
)
def test_the_same_seed_gives_the_same_weights(objective, digits: Data) -> None:
    hashes = set()
    for _ in range(2):
        torch.manual_seed(0)
        model = create("small-cnn", shape=digits.shape, classes=10)
        retrain(model, digits, objective, epochs=2, augmentation="crop", progress=False)
        hashes.add(weights_hash(model))
    assert len(hashes) == 1


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs.flatten(1)).relu()
        return self.last(checkpoint(self.second, hidden, use_reentrant=True) if self.training else self.second(hidden))


def test_reentrant_checkpoints_are_trained_where_no_input_gradient_is_asked_for(digits: Data) -> None:
    training = retrain(Checkpointed(), digits, CrossEntropy(), epochs=10, progress=False)
    assert training.history[-1]["validation_accuracy"] > 0.5


def test_another_seed_gives_another_order(network: Network, digits: Data) -> None:
    start = network.state_dict()
    copies = []
    for seed in (0, 1):
        model = create("mlp", shape=digits.shape, classes=10)
        model.load_state_dict(start)
        retrain(model, digits, CrossEntropy(), epochs=1, seed=seed, progress=False)
        copies.append(weights_hash(model))
    assert copies[0] != copies[1]


def test_the_global_generator_and_the_modes_stay_as_they_were(network: Network, digits: Data) -> None:
    network.train()
    network.dense1.eval()
    before = torch.get_rng_state()
    retrain(network, digits, CrossEntropy(), epochs=1, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert network.training
    assert not network.dense1.training


@pytest.mark.parametrize(("images", "batch_size", "steps"), [(256, 128, 2), (257, 128, 3), (10, 128, 1)])
def test_batches_differ_by_one_image_at_most(images: int, batch_size: int, steps: int) -> None:
    assert steps_per_epoch(images, batch_size) == steps
    sizes = {len(index) for index in torch.arange(images).tensor_split(steps)}
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def _normalised() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))


def test_a_frozen_normalisation_keeps_its_statistics(digits: Data) -> None:
    model = _normalised()
    model[2].eval().requires_grad_(False)
    before = {name: value.clone() for name, value in model[2].state_dict().items()}
    retrain(model, digits, CrossEntropy(), epochs=2, progress=False)
    assert all(torch.equal(before[name], value) for name, value in model[2].state_dict().items())
    assert [module.training for module in model] == [True, True, False, True, True]


@pytest.mark.parametrize("affine", [True, False])
def test_a_normalisation_that_nobody_froze_learns_its_statistics(affine: bool, digits: Data) -> None:
    """Also in a model that came in evaluation mode as a whole."""
    model = _normalised()
    model[2] = nn.BatchNorm1d(16, affine=affine)
    model.eval()
    retrain(model, digits, CrossEntropy(), epochs=1, progress=False)
    assert (model[2].running_mean != 0).any()


class Attention(nn.Module):
    """Rows of an image look at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(F.scaled_dot_product_attention(inputs, inputs, inputs).flatten(1))


def test_a_step_back_that_torch_has_no_derivative_for_is_an_error_that_says_what_to_do(digits: Data) -> None:
    exact, finite = CrossEntropy() + InputGradient(), CrossEntropy() + InputGradient(step=0.1)
    with pytest.raises(ModelError, match=r"SDPBackend\.MATH.*scaled_dot_product"):
        retrain(Attention(), digits, exact, epochs=1, progress=False)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        retrain(Attention(), digits, exact, epochs=1, progress=False)
    retrain(Attention(), digits, finite, epochs=1, progress=False)
