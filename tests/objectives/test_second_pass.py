import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from retemper.errors import ModelError
from retemper.objectives import CrossEntropy, Curvature, ForwardPass, InputGradient, LinearisedLoss, Term
from retemper.objectives.second_pass import every_nth_image, moved, unnoticed


def images(count: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 5, generator=generator, dtype=torch.float64), torch.arange(count) % 3


@pytest.fixture
def dropping() -> Iterator[nn.Sequential]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield nn.Sequential(nn.Linear(5, 40), nn.Tanh(), nn.Dropout(0.5), nn.Linear(40, 3)).double()


@pytest.fixture
def normalising() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()


def test_dropout_drops_the_same_units_again(dropping: nn.Module) -> None:
    inputs, labels = images()
    first = ForwardPass(dropping, inputs, labels, differentiable_inputs=True)
    torch.rand(3)
    state = torch.get_rng_state()
    again = moved(first, torch.zeros_like(inputs))
    assert torch.equal(again.logits, first.logits)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(dropping(inputs), first.logits)


def test_so_that_a_difference_does_not_hang_on_what_was_dropped(dropping: nn.Module) -> None:
    inputs, labels = images()
    values = []
    for step in (None, 1e-6):
        torch.manual_seed(7)
        values.append(InputGradient("loss", "l1", step=step)(dropping, inputs, labels).item())
    assert values[1] == pytest.approx(values[0], rel=1e-4)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("step", [None, 0.1])
def test_running_statistics_are_those_of_the_first_pass_alone(
    every: int, step: float | None, normalising: nn.Sequential
) -> None:
    inputs, labels = images()
    InputGradient(step=step, every=every)(normalising, inputs, labels)
    found = {name: buffer.clone() for name, buffer in normalising[1].named_buffers()}
    normalising[1].reset_running_stats()
    normalising(inputs)
    assert found["num_batches_tracked"] == 1
    assert all(torch.equal(buffer, found[name]) for name, buffer in normalising[1].named_buffers())
    assert normalising[1].track_running_stats


def test_the_moved_batch_is_normalised_by_its_own_statistics(normalising: nn.Module) -> None:
    inputs, labels = images()
    first = ForwardPass(normalising, inputs, labels, differentiable_inputs=True)
    shifted = moved(first, torch.ones_like(inputs))
    # Moved all alike, the images differ from each other as before.
    torch.testing.assert_close(shifted.logits, first.logits)


def test_statistics_are_taken_again_after_an_error(normalising: nn.Sequential) -> None:
    inputs, labels = images()
    first = ForwardPass(normalising, inputs, labels, differentiable_inputs=True)
    own = dict(normalising.named_buffers())
    normalising[3] = nn.Linear(7, 3).double()
    with pytest.raises(ModelError):
        moved(first, torch.zeros_like(inputs))
    assert all(buffer is own[name] for name, buffer in normalising.named_buffers())
    normalising.eval()
    with unnoticed(normalising):
        assert all(buffer is own[name] for name, buffer in normalising.named_buffers())


def test_the_images_of_a_part_are_equally_far_apart_and_weigh_as_many_as_they_stand_for() -> None:
    inputs, labels = images(8)
    first = ForwardPass(nn.Linear(5, 3).double(), inputs, labels, differentiable_inputs=True)
    found = set()
    for seed in range(40):
        torch.manual_seed(seed)
        part, share = every_nth_image(first, 3)
        start = int((inputs == part.given[0]).all(1).nonzero())
        assert torch.equal(part.given, inputs[start::3])
        assert torch.equal(part.labels, labels[start::3])
        assert share == len(part.labels) * 3 / 8
        found.add(start)
    assert found == {0, 1, 2}


def test_in_evaluation_mode_the_part_is_the_whole_and_nothing_is_drawn() -> None:
    first = ForwardPass(nn.Linear(5, 3).double().eval(), *images(), differentiable_inputs=True)
    state = torch.get_rng_state()
    assert every_nth_image(first, 3) == (first, 1.0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("normed", [torch.nn.utils.parametrizations.spectral_norm, torch.nn.utils.spectral_norm])
def test_a_spectral_norm_is_that_of_the_first_pass(normed: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(normed(nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, 3)).double().train()
    inputs, labels = images()
    first = ForwardPass(model, inputs, labels, differentiable_inputs=True)
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    again = moved(first, torch.zeros_like(inputs))
    torch.testing.assert_close(again.logits, first.logits, rtol=1e-12, atol=0)
    assert all(torch.equal(buffer, kept[name]) for name, buffer in model.named_buffers())
    assert all(module.training for module in model.modules())
    model(inputs)
    assert any(not torch.equal(buffer, kept[name]) for name, buffer in model.named_buffers())


def test_running_statistics_of_instances_are_those_of_the_first_pass_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2, track_running_stats=True), nn.Flatten()).train()
    inputs = torch.rand(4, 1, 5, 5)
    first = ForwardPass(model, inputs, torch.zeros(4, dtype=torch.long), differentiable_inputs=True)
    assert first.logits.shape == (4, 18)
    mean = model[1].running_mean.clone()
    moved(first, torch.ones_like(inputs))
    assert torch.equal(model[1].running_mean, mean)
    assert model[1].momentum == 0.1


@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("moves", [1.0, torch.inf])
def test_running_statistics_stay_whatever_their_momentum_and_wherever_the_images_are_moved(
    moves: float, momentum: float | None
) -> None:
    norm = nn.BatchNorm1d(5, momentum=momentum).double()
    inputs, labels = images()
    first = ForwardPass(norm, inputs, labels, differentiable_inputs=True)
    kept = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    moved(first, torch.full_like(inputs, moves))
    assert all(torch.equal(buffer, kept[name]) for name, buffer in norm.named_buffers())
    assert norm.momentum == momentum


class Checkpointed(nn.Module):
    """Keeps no outputs of its normalised layers if it is told so, and runs them again for a gradient."""

    def __init__(self, norm: nn.Module, again: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = nn.Sequential(nn.Conv1d(1, 4, 2), norm, nn.Dropout(0.2), nn.Tanh())
        self.last, self.again = nn.Linear(16, 3), again

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs[:, None]
        hidden = checkpoint(self.block, hidden, use_reentrant=False) if self.again else self.block(hidden)
        return self.last(hidden.flatten(1))


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm1d(4),
        nn.BatchNorm1d(4, momentum=None),
        nn.BatchNorm1d(4, track_running_stats=False),
        nn.SyncBatchNorm(4),
        nn.InstanceNorm1d(4, track_running_stats=True),
    ],
)
@pytest.mark.parametrize(
    "term", [LinearisedLoss("l1", 0.2, step=0.1), InputGradient(step=0.1), InputGradient(every=2), Curvature(0.5)]
)
def test_a_checkpoint_that_runs_normalised_layers_again_gives_the_gradients_of_one_run(
    term: Term, norm: nn.Module
) -> None:
    inputs, labels = images()
    gradients = []
    for again in (True, False):
        model = Checkpointed(copy.deepcopy(norm), again).double()
        torch.manual_seed(3)
        (CrossEntropy() + term)(model, inputs, labels).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)
