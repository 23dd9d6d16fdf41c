import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from retemper.errors import ModelError, SettingError
from retemper.models import create
from retemper.objectives import CrossEntropy, Jacobian


def loop(model: nn.Module, inputs: Tensor) -> float:
    """The squares of all derivatives, by central differences of one number of one image at a time."""
    total, step = 0.0, 1e-5
    for image in inputs:
        for place in range(image.numel()):
            there, back = image.clone(), image.clone()
            there.view(-1)[place] += step
            back.view(-1)[place] -= step
            slopes = (model(there[None]) - model(back[None]))[0] / (2 * step)
            total += sum(slope**2 for slope in slopes.tolist())
    return total / len(inputs)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_in_evaluation_mode_it_is_the_sum_of_the_squares_of_all_derivatives(
    outputs: int, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(outputs).eval(), batch(max(outputs, 2))
    for projections in (1, 3):
        found = Jacobian(projections)(model, inputs, labels).item()
        assert found == pytest.approx(loop(model, inputs), rel=1e-8)


def test_maps_are_taken_whole() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.SiLU(), nn.Flatten(), nn.Linear(12, 3)).double().eval()
    inputs, labels = torch.rand(5, 2, 4, 4, dtype=torch.float64), torch.arange(5) % 3
    assert Jacobian()(model, inputs, labels).item() == pytest.approx(loop(model, inputs), rel=1e-8)


@pytest.mark.parametrize("projections", [1, 3])
def test_in_training_mode_each_projection_is_that_of_the_formula(
    projections: int, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(4), batch(4)
    torch.manual_seed(0)
    found = Jacobian(projections)(model, inputs, labels)
    torch.manual_seed(0)
    total = torch.zeros((), dtype=torch.float64)
    for _ in range(projections):
        for image, drawn in zip(inputs, torch.randn(7, 4, dtype=torch.float64), strict=True):
            direction = drawn / math.sqrt(sum(number**2 for number in drawn.tolist()))
            rows = torch.autograd.functional.jacobian(lambda one: model(one[None])[0], image, create_graph=True)
            total = total + 4 / projections * (direction @ rows).square().sum() / 7
    torch.testing.assert_close(found, total)
    parameters = tuple(model.parameters())
    ours, theirs = (torch.autograd.grad(value, parameters, materialize_grads=True) for value in (found, total))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_over_the_logits_axes_the_projections_add_up_to_the_exact_value(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    axes = iter(5 * torch.eye(3, dtype=torch.float64))
    monkeypatch.setattr(torch, "randn_like", lambda logits: next(axes).expand_as(logits))
    found = Jacobian(3)(model, inputs, labels).item()
    assert found == pytest.approx(Jacobian()(model.eval(), inputs, labels).item(), rel=1e-12)


def test_in_expectation_the_estimate_is_the_exact_value(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    many = inputs.repeat(3000, 1), labels.repeat(3000)
    torch.manual_seed(0)
    found = Jacobian()(model, *many).item()
    assert found == pytest.approx(Jacobian()(model.eval(), inputs, labels).item(), rel=0.03)


def test_draws_repeat_with_the_seed_and_stay_away_from_evaluation(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    values = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        values.append(Jacobian()(model, inputs, labels).item())
    assert values[0] == values[1] != values[2]
    state = torch.get_rng_state()
    Jacobian()(model.eval(), inputs, labels)
    assert torch.equal(torch.get_rng_state(), state)


def test_its_gradients_are_true(network: Callable[[int], nn.Module], batch: Callable[[int], Any]) -> None:
    model, (inputs, labels) = network(3).eval(), batch(3)
    assert torch.autograd.gradcheck(lambda points: Jacobian()(model, points, labels), (inputs.requires_grad_(),))


def test_models_may_return_their_logits_in_a_container_or_as_one_score(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    class Returning(nn.Module):
        def __init__(self, network: nn.Module, form: Callable[[Tensor], Any]) -> None:
            super().__init__()
            self.network, self.form = network, form

        def forward(self, inputs: Tensor) -> Any:
            return self.form(self.network(inputs))

    model = network(1)
    forms: list[Callable[[Tensor], Any]] = [
        lambda score: score,
        lambda score: score[:, 0],
        lambda score: (score, None),
        lambda score: {"logits": torch.cat([torch.zeros_like(score), score], dim=1)},
    ]
    found = [Jacobian()(Returning(model, form).eval(), *batch(2)).item() for form in forms]
    assert found == pytest.approx([found[0]] * 4, rel=1e-12)


def test_autocast_to_bf16_gives_about_the_same_value_and_finite_gradients() -> None:
    torch.manual_seed(0)
    model = create("small-cnn", shape=(1, 8, 8), classes=3, activation="silu")
    inputs, labels = torch.rand(12, 1, 8, 8), torch.arange(12) % 3
    values = []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = (CrossEntropy() + Jacobian(2)).compute(model, inputs, labels).parts["jacobian"]
        values.append(loss.item())
    loss.backward()
    assert loss.dtype == torch.float32
    assert values[1] == pytest.approx(values[0], rel=0.05)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_less_than_one_projection_is_refused() -> None:
    with pytest.raises(SettingError, match="`projections` to be 1 or more, but got 0"):
        Jacobian(0)


def test_a_checkpoint_that_input_gradients_cannot_pass_is_an_error_that_says_what_to_do() -> None:
    class Checkpointed(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return checkpoint(super().forward, inputs, use_reentrant=True)

    with pytest.raises(ModelError, match=r"use_reentrant=False.*incompatible"):
        Jacobian()(Checkpointed(5, 3), torch.rand(4, 5), torch.zeros(4, dtype=torch.int64))
