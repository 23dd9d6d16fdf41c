import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from retemper.activations import NONLINEARITIES, Layers, record, select
from retemper.errors import LayerError, ModelError
from retemper.models import create


class Block(nn.Module):
    """Two nonlinearities, the second registered before the first that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Tanh()
        self.linear = nn.Linear(4, 4)
        self.early = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.late(self.linear(self.early(inputs)))


class Squash(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs / (1 + inputs.abs())


class Wrapper(nn.Module):
    """What DataParallel and its like look like from outside."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor) -> Tensor:
        return self.module(inputs)


def nested() -> nn.Sequential:
    """0 Linear, 1 Block, 2 Sequential(0 Linear, 1 GELU), 3 Linear, 4 Softmax."""
    return nn.Sequential(
        nn.Linear(3, 4), Block(), nn.Sequential(nn.Linear(4, 4), nn.GELU()), nn.Linear(4, 2), nn.Softmax(1)
    )


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("all", ["1.late", "1.early", "2.1"]),
        (nn.Linear, ["0", "1.linear", "2.0", "3"]),
        ("1.early", ["1.early"]),
        ("2.*", ["2.0", "2.1"]),
        ("*l*", ["1.late", "1.linear", "1.early"]),
        (Block, ["1"]),
        (["2.1", nn.Tanh, "0"], ["0", "1.late", "2.1"]),
        (("all", "1.late"), ["1.late", "1.early", "2.1"]),
    ],
)
def test_layers_are_selected_in_the_order_of_registration(layers: Layers, expected: list[str]) -> None:
    model = nested()
    chosen = select(model, layers)
    assert list(chosen) == expected
    assert all(module is model.get_submodule(name) for name, module in chosen.items())


def test_a_kind_takes_its_subclasses() -> None:
    class Own(nn.ReLU):
        pass

    assert list(select(nn.Sequential(nn.Linear(2, 2), Own()), nn.ReLU)) == ["1"]
    assert list(select(nn.Sequential(nn.Linear(2, 2), Own()))) == ["1"]


def test_a_users_own_nonlinearity_goes_by_its_kind_or_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2), Squash())
    assert list(select(model, Squash)) == list(select(model, "1")) == ["1"]
    with pytest.raises(LayerError, match="no nonlinearity that is a module"):
        select(model)


@pytest.mark.parametrize("kind", [nn.ReLU, nn.GELU, nn.SiLU, nn.PReLU, nn.Softplus, nn.Hardswish, nn.GLU])
def test_nonlinearities_are_recorded_by_default(kind: type[nn.Module]) -> None:
    assert kind in NONLINEARITIES
    assert list(select(nn.Sequential(kind()))) == ["0"]


def test_pooling_dropout_logits_and_probabilities_are_no_nonlinearities() -> None:
    model = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(), nn.BatchNorm2d(1), nn.Linear(2, 2), nn.Softmax(1), nn.ReLU())
    assert list(select(model)) == ["5"]


@pytest.mark.parametrize("name", ["a[0]", "b*", "c?"])
def test_a_name_that_looks_like_a_pattern_still_finds_its_layer(name: str) -> None:
    assert list(select(nn.ModuleDict({name: nn.ReLU(), "other": nn.ReLU()}), name)) == [name]


@pytest.mark.parametrize("layers", ["conv9", nn.Conv3d, ["all", "conv9"]])
def test_an_unknown_layer_is_an_error_that_lists_what_there_is(layers: Layers) -> None:
    with pytest.raises(
        LayerError, match=r"No layer of Sequential fits '(conv9|Conv3d)'. It has: 0, 1, 1.late, "
    ) as error:
        select(nested(), layers)
    assert "2.1" in str(error.value)
    assert isinstance(error.value, ModelError)


def test_the_list_of_an_error_stays_readable_for_deep_models() -> None:
    with pytest.raises(LayerError, match=r"It has: 0, 1, .*, 29 and 170 more\.$"):
        select(nn.Sequential(*[nn.ReLU() for _ in range(200)]), "conv1")


def test_no_layers_at_all_are_an_error() -> None:
    with pytest.raises(LayerError, match="empty list"):
        select(nested(), [])


def test_functional_nonlinearities_are_an_error_that_says_what_to_do() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(2, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.relu(self.first(inputs))

    with pytest.raises(LayerError, match=r"Functional has no nonlinearity.*nn\.ReLU\(\).*It has: first\.$"):
        select(Functional())
    with pytest.raises(LayerError, match="no submodules"):
        select(nn.ReLU())


def test_outputs_are_recorded_in_the_order_in_which_layers_run() -> None:
    model, inputs = nested(), torch.randn(5, 3)
    with record(model) as activations:
        model(inputs)
    assert list(activations) == ["1.early", "1.late", "2.1"]
    first = model[0](inputs).relu()
    second = model[1].linear(first).tanh()
    third = nn.functional.gelu(model[2][0](second))
    for name, expected in zip(activations, (first, second, third), strict=True):
        assert torch.equal(activations[name], expected)


def test_a_layer_that_runs_again_gets_a_number() -> None:
    act = nn.ReLU()
    model = nn.Sequential(nn.Linear(2, 2), act, nn.Linear(2, 2), act, nn.Linear(2, 2), act)
    inputs = torch.randn(4, 2)
    assert list(select(model)) == ["1"]
    with record(model) as activations:
        model(inputs)
    assert list(activations) == ["1", "1#2", "1#3"]
    assert torch.equal(activations["1#2"], model[:4](inputs))
    assert torch.equal(activations["1#3"], model(inputs))


@pytest.mark.parametrize("choice", ["first", "second", "*"])
def test_a_shared_layer_is_chosen_by_any_of_its_names_and_recorded_once(choice: str) -> None:
    shared = nn.ReLU()
    model = nn.ModuleDict({"first": shared, "second": shared})
    assert list(select(model, choice)) == ["first"]
    with record(model, choice) as activations:
        model["second"](torch.ones(1))
    assert list(activations) == ["first"]


@pytest.mark.parametrize("wrap", [Wrapper, nn.DataParallel, lambda model: Wrapper(nn.DataParallel(model))])
def test_wrappers_for_several_devices_leave_names_as_they_are(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = nested()
    wrapped = wrap(model)
    assert select(wrapped) == select(model)
    assert select(wrapped, "*") == select(model, "*")
    with record(wrapped) as activations:
        wrapped(torch.randn(2, 3))
    assert list(activations) == ["1.early", "1.late", "2.1"]


def test_a_layer_called_module_is_a_layer_like_any_other() -> None:
    inner = nn.Sequential(nn.ReLU())
    beside = nn.ModuleDict({"module": inner, "act": nn.ReLU()})
    assert list(select(beside)) == ["module.0", "act"]
    assert list(select(nn.ModuleDict({"module": nn.ReLU()}))) == ["module"]


@pytest.mark.parametrize("network", ["lenet5", "mlp"])
def test_recording_changes_neither_outputs_nor_gradients(network: str) -> None:
    torch.manual_seed(0)
    plain = create(network, shape=(1, 8, 8), classes=3)
    watched = copy.deepcopy(plain)
    inputs = torch.rand(4, 1, 8, 8)
    plain_inputs, watched_inputs = (inputs.clone().requires_grad_() for _ in range(2))
    plain(plain_inputs).logsumexp(1).sum().backward()
    with record(watched, "*") as activations:
        watched(watched_inputs).logsumexp(1).sum().backward()
    assert len(activations) == len(list(watched.children()))
    assert torch.equal(plain(inputs), watched(inputs))
    assert plain_inputs.grad is not None
    assert watched_inputs.grad is not None
    assert torch.equal(plain_inputs.grad, watched_inputs.grad)
    for one, other in zip(plain.parameters(), watched.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_gradients_flow_through_recorded_outputs() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    inputs = torch.randn(4, 2)
    with record(model) as activations:
        model(inputs)
    (found,) = torch.autograd.grad(activations["1"].square().sum(), model[0].weight)
    (expected,) = torch.autograd.grad(model[0](inputs).tanh().square().sum(), model[0].weight)
    assert torch.equal(found, expected)


def test_hooks_are_gone_after_the_block() -> None:
    model = nested()
    with record(model, "*") as activations:
        assert hooks(model) == len(list(model.modules())) - 1
        model(torch.randn(2, 3))
    assert hooks(model) == 0
    before = dict(activations)
    model(torch.randn(2, 3))
    assert list(activations) == list(before)


def test_hooks_are_gone_after_an_error_in_the_block() -> None:
    model = nested()
    with pytest.raises(KeyError), record(model):
        raise KeyError
    assert hooks(model) == 0


def test_hooks_are_gone_after_an_error_in_the_forward_pass() -> None:
    model = nested()
    with pytest.raises(RuntimeError), record(model):
        model(torch.randn(2, 7))
    assert hooks(model) == 0


def test_no_hooks_are_left_where_a_layer_is_unknown() -> None:
    model = nested()
    with pytest.raises(LayerError), record(model, ["all", "unknown"]):
        pass
    assert hooks(model) == 0


def test_a_users_own_hooks_stay() -> None:
    model = nested()
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    with record(model, "*"):
        model(torch.randn(2, 3))
    model(torch.randn(2, 3))
    assert len(calls) == 2


def test_nested_blocks_on_one_model_record_on_their_own() -> None:
    model, inputs = nested(), torch.randn(2, 3)
    with record(model) as outer:
        with record(model, nn.Linear) as inner:
            model(inputs)
        assert list(inner) == ["0", "1.linear", "2.0", "3"]
        assert list(outer) == ["1.early", "1.late", "2.1"]
        model(inputs)
        assert len(inner) == 4
    assert list(outer) == ["1.early", "1.late", "2.1", "1.early#2", "1.late#2", "2.1#2"]
    assert hooks(model) == 0


def test_cleared_activations_start_over() -> None:
    model = nested()
    with record(model) as activations:
        model(torch.randn(2, 3))
        activations.clear()
        assert len(activations) == 0
        model(torch.randn(7, 3))
    assert {name: len(output) for name, output in activations.items()} == {"1.early": 7, "1.late": 7, "2.1": 7}


@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_same_values_are_recorded(surroundings: Callable[[], torch.no_grad]) -> None:
    model, inputs = nested(), torch.randn(4, 3)
    with record(model) as expected:
        model(inputs)
    with surroundings(), record(model) as activations:
        model(inputs)
    for name, output in activations.items():
        assert not output.requires_grad
        assert torch.equal(output, expected[name])


def test_under_autocast_the_low_precision_outputs_are_recorded() -> None:
    model, inputs = nested(), torch.randn(4, 3)
    with record(model) as expected:
        model(inputs)
    with torch.autocast("cpu", torch.bfloat16), record(model) as activations:
        model(inputs)
    assert activations["1.early"].dtype == torch.bfloat16
    for name, output in activations.items():
        torch.testing.assert_close(output.float(), expected[name], atol=0.03, rtol=0.03)


@pytest.mark.parametrize("later", [nn.ReLU(inplace=True), nn.Dropout(0.5, inplace=True)])
def test_an_output_that_a_later_layer_overwrites_is_reported(later: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sigmoid(), nn.Flatten(), later)
    with record(model, "1") as activations, torch.no_grad():
        model(torch.randn(2, 1, 4, 4))
    with pytest.raises(LayerError, match=r"layer '1' was changed in place.*inplace=False"):
        activations["1"]


def test_in_inference_mode_an_output_survives_a_later_layer_that_overwrites_it() -> None:
    model, inputs = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True)), torch.randn(8, 3)
    with torch.inference_mode(), record(model, "0") as activations:
        model(inputs)
    assert (activations["0"] < 0).any()
    assert torch.equal(activations["0"], model[0](inputs))


def test_an_in_place_nonlinearity_records_its_own_output() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    inputs = torch.randn(5, 3)
    with record(model) as activations:
        outputs = model(inputs)
    assert torch.equal(activations["1"], model[0](inputs).relu())
    outputs.sum().backward()
    assert activations["1"].requires_grad


class Pair(nn.Module):
    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return inputs, inputs


def test_a_layer_that_returns_a_tuple_cannot_be_recorded() -> None:
    model = nn.Sequential(nn.Linear(2, 2), Pair())
    with (
        pytest.raises(LayerError, match="Expected layer '1' to return a tensor, but it returns tuple"),
        record(model, "1"),
    ):
        model(torch.ones(1, 2))
    assert hooks(model) == 0


class Bare(nn.Module):
    """Runs its first layers without gradients, as a feature extractor, and a head with them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.features(inputs)
        return self.head(features)


def test_differentiable_outputs_are_those_of_layers_that_run_with_gradients_on() -> None:
    model, inputs = Bare(), torch.randn(5, 3)
    with (
        pytest.raises(LayerError, match=r"'features\.1' runs .* gradients off.*use_reentrant=False.*\"head\.\*\""),
        record(model, differentiable=True),
    ):
        model(inputs)
    assert hooks(model) == 0
    with record(model, "head.*", differentiable=True) as activations:
        model(inputs)
    assert activations["head.1"].requires_grad
    with record(model) as activations:
        model(inputs)
    assert list(activations) == ["features.1", "head.1"]


def test_a_frozen_layer_is_recorded_among_differentiable_ones() -> None:
    model = nested()
    model[0].requires_grad_(False)
    with record(model, nn.Linear, differentiable=True) as activations:
        model(torch.randn(5, 3))
    assert not activations["0"].requires_grad
    assert activations["3"].requires_grad
