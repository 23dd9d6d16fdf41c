import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retemper.activations import Layers
from retemper.errors import LayerError, ModelError, SettingError
from retemper.information import MEASURES, measures
from retemper.information.fused_entropy import plain_entropy
from retemper.objectives import ActivationEntropy, CrossEntropy, InputGradient


def loop(rows: list[list[float]]) -> float:
    total = 0.0
    for row in rows:
        shares = [abs(value) / sum(map(abs, row)) for value in row]
        total -= sum(share * math.log(share) for share in shares if share)
    return total / len(rows)


@pytest.mark.parametrize(
    ("layers", "stops"), [("all", (2, 4)), ("3", (4,)), (nn.Linear, (1, 3, 5)), (["1", "4"], (2, 5))]
)
def test_it_is_the_mean_over_layers_of_the_share_of_the_largest_entropy(
    layers: Layers, stops: tuple[int, ...], network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    outputs = [model[:stop](inputs).tolist() for stop in stops]
    expected = sum(loop(rows) / math.log(len(rows[0])) for rows in outputs) / len(outputs)
    assert ActivationEntropy(layers)(model, inputs, labels).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_counts_by_its_share_of_its_maximum(
    measure: str, network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    found, maximum = MEASURES[measure].entropy, MEASURES[measure].maximum
    outputs = [model[:2](inputs), model[:4](inputs)]
    expected = sum(found(output).item() / maximum(*output.shape) for output in outputs) / 2
    assert ActivationEntropy(measure=measure)(model, inputs, labels).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("widths", [(7,), (7, 300), (300, 7, 40, 1000)])
def test_a_network_that_keeps_all_it_can_has_1_whatever_its_width_and_depth(widths: tuple[int, ...]) -> None:
    layers: list[nn.Module] = []
    for before, after in zip((5, *widths), widths, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
        nn.init.ones_(layers[-2].weight)
        nn.init.zeros_(layers[-2].bias)
    model = nn.Sequential(*layers, nn.Linear(widths[-1], 3)).double()
    loss = ActivationEntropy()(model, torch.rand(4, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 0]))
    assert loss.item() == pytest.approx(1, rel=1e-12)


def test_a_layer_that_can_keep_nothing_counts_0() -> None:
    model = nn.Sequential(nn.Linear(5, 1), nn.Sigmoid(), nn.Linear(1, 3))
    loss = ActivationEntropy()(model, torch.rand(4, 5), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    assert loss == 0
    alone = ActivationEntropy(measure="renyi")(model, torch.rand(1, 5), torch.tensor([0]))
    assert alone == 0


def test_an_unknown_measure_is_an_error_that_lists_them() -> None:
    with pytest.raises(SettingError, match=f"{', '.join(MEASURES)}, but got 'shannon'"):
        ActivationEntropy(measure="shannon")


def test_unknown_layers_are_an_error_at_the_first_batch(batch: Callable[[int], Any]) -> None:
    inputs, labels = batch(3)
    with pytest.raises(LayerError, match=r"nn\.ReLU\(\)"):
        ActivationEntropy()(nn.Linear(5, 3).double(), inputs, labels)
    with pytest.raises(LayerError, match="conv1"):
        ActivationEntropy("conv1")(nn.Sequential(nn.Linear(5, 3)).double(), inputs, labels)


def test_an_output_that_is_overwritten_is_an_error(batch: Callable[[int], Any]) -> None:
    inputs, labels = batch(3)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Dropout(inplace=True), nn.Linear(4, 3)).double()
    with pytest.raises(LayerError, match="changed in place"):
        ActivationEntropy("0")(nn.Sequential(nn.Linear(5, 3), nn.ReLU(inplace=True)).double(), inputs, labels)
    with pytest.raises((LayerError, ModelError), match="changed in place"):
        ActivationEntropy()(model, inputs, labels)


def test_whatever_follows_an_all_zero_layer_gets_finite_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].bias.fill_(-100)
    for measure in MEASURES:
        model.zero_grad()
        ActivationEntropy(measure=measure)(model, torch.rand(6, 5), torch.arange(6) % 3).backward()
        assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("measure", ["activation", "softmax"])
@pytest.mark.parametrize("every", [2, 3, 7, 100])
def test_the_mean_over_all_draws_of_images_is_the_value_on_all_of_them(
    measure: str,
    every: int,
    network: Callable[[int], nn.Sequential],
    batch: Callable[[int], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    draws: list[Any] = []
    for first in range(min(every, 7)):
        monkeypatch.setattr(torch, "randint", lambda high, _size, first=first: torch.arange(high)[first])
        loss = ActivationEntropy(measure=measure, every=every)(model, inputs, labels)
        draws.append([loss, *gradients(loss, model[:3])])
    loss = ActivationEntropy(measure=measure)(model, inputs, labels)
    for found, expected in zip(zip(*draws, strict=True), [loss, *gradients(loss, model[:3])], strict=True):
        assert torch.allclose(torch.stack(found).mean(0), expected, rtol=1e-12, atol=1e-14)


def gradients(loss: Tensor, model: nn.Module) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, tuple(model.parameters()))


def test_each_draw_is_equally_likely_and_repeats_with_the_seed(
    network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    term = ActivationEntropy(every=3)
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        runs.append([term(model, inputs, labels).item() for _ in range(300)])
    assert runs[0] == runs[1]
    assert sorted(runs[0].count(value) // 75 for value in set(runs[0])) == [1, 1, 1]


def test_in_evaluation_mode_all_images_count_and_nothing_is_drawn(
    network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3).eval(), batch(3)
    state = torch.get_rng_state()
    assert ActivationEntropy(every=3)(model, inputs, labels) == ActivationEntropy()(model, inputs, labels)
    assert torch.equal(torch.get_rng_state(), state)


def test_only_a_mean_over_images_can_be_taken_of_some_of_them() -> None:
    for measure in ("unit", "renyi"):
        with pytest.raises(SettingError, match=f"'{measure}' is one of the whole batch"):
            ActivationEntropy(measure=measure, every=2)
    with pytest.raises(SettingError, match="1 or more, but got 0"):
        ActivationEntropy(every=0)


@pytest.mark.parametrize("every", [1, 2])
def test_a_penalty_on_the_input_gradient_goes_with_it_as_with_the_definition(
    every: int, network: Callable[[int], nn.Sequential], batch: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    objective = CrossEntropy() + 0.05 * ActivationEntropy(every=every) + 0.01 * InputGradient(of="loss", norm="l1")
    torch.manual_seed(0)
    found = gradients(objective(model, inputs, labels), model)
    monkeypatch.setattr(measures, "fused_entropy", plain_entropy)
    torch.manual_seed(0)
    expected = gradients(objective(model, inputs, labels), model)
    assert all(torch.allclose(one, other, rtol=1e-10, atol=1e-14) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("every", [1, 3])
def test_the_gradient_by_the_input_can_itself_be_differentiated(
    every: int, network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)

    def loss(inputs: Tensor) -> Tensor:
        torch.manual_seed(0)
        return ActivationEntropy(every=every)(model, inputs, labels)

    assert torch.autograd.gradgradcheck(loss, (inputs.requires_grad_(),))
