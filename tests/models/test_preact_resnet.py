from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper import CrossEntropy, InputGradient, Linf, PGDTraining, record
from retemper.models import Network, create
from retemper.models.last_layer import features_of, last_layer
from retemper.models.layout import channels_last
from retemper.objectives import Objective

SMALL = "preact-resnet18-small"


def fresh(shape: tuple[int, ...] = (3, 16, 16), activation: str = "relu", classes: int = 5) -> Network:
    """A small network whose batch normalisation does something: as if trained."""
    torch.manual_seed(0)
    model = create(SMALL, shape=shape, classes=classes, activation=activation, mean=(0.4,), std=(0.3,))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for values, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.3, 0.3),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
            ):
                nn.init.uniform_(values, low, high)
    return model


def by_hand(state: dict[str, Tensor], inputs: Tensor, activation: Callable[[Tensor], Tensor], train: bool) -> Tensor:
    """The logits out of a state dict, layer after layer, with functions alone."""

    def activated(name: str, x: Tensor) -> Tensor:
        mean, variance = state[f"{name}.running_mean"].clone(), state[f"{name}.running_var"].clone()
        return activation(F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], train))

    x = F.conv2d((inputs - 0.4) / 0.3, state["conv.weight"], padding=1)
    for block, stride in {"1a": 1, "1b": 1, "2a": 2, "2b": 1, "3a": 2, "3b": 1, "4a": 2, "4b": 1}.items():
        inner = activated(f"block{block}.norm1", x)
        inner = F.conv2d(inner, state[f"block{block}.conv1.weight"], stride=stride, padding=1)
        inner = activated(f"block{block}.norm2", inner)
        inner = F.conv2d(inner, state[f"block{block}.conv2.weight"], padding=1)
        if stride == 2:
            x = F.conv2d(x, state[f"block{block}.shortcut.weight"], stride=2)
        x = x + inner
    return F.linear(activated("norm", x).mean((2, 3)), state["logits.weight"], state["logits.bias"])


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("activation", "function"), [("relu", F.relu), ("silu", F.silu)])
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 28, 28), (2, 5, 9)], ids=str)
def test_logits_are_those_computed_by_hand(
    shape: tuple[int, ...], activation: str, function: Callable[[Tensor], Tensor], train: bool
) -> None:
    model = fresh(shape, activation).double().train(train)
    inputs = torch.rand(3, *shape, dtype=torch.float64)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.testing.assert_close(model(inputs), by_hand(state, inputs, function, train))


@pytest.mark.parametrize(("name", "width"), [("preact-resnet18", 64), (SMALL, 16)])
def test_parameters_are_as_many_as_counted_by_hand(name: str, width: int) -> None:
    convolutions = 3 * 9 * width
    norms = 0
    before = width
    for channels in (width, 2 * width, 4 * width, 8 * width):
        convolutions += 9 * (before * channels + 3 * channels**2)  # two blocks of two
        convolutions += before * channels if before != channels else 0  # the shortcut
        norms += 2 * (before + 3 * channels)  # a scale and a shift for each
        before = channels
    last_norm = 2 * 8 * width
    logits = 10 * (8 * width + 1)
    model = create(name, shape=(3, 32, 32), classes=10)
    assert sum(value.numel() for value in model.parameters()) == convolutions + norms + last_norm + logits
    if width == 64:
        # The figure that is known is that of kuangliu/pytorch-cifar, which has no normalisation before the pooling.
        assert convolutions + norms + logits == 11_171_146
        assert last_norm == 1_024


def test_convolutions_have_no_bias() -> None:
    assert all(module.bias is None for module in fresh().modules() if isinstance(module, nn.Conv2d))


def test_each_stage_halves_the_map_and_doubles_the_channels() -> None:
    model = fresh((1, 28, 28))
    with record(model, "block??") as blocks:
        model(torch.rand(2, 1, 28, 28))
    sizes = {"1": (16, 28, 28), "2": (32, 14, 14), "3": (64, 7, 7), "4": (128, 4, 4)}
    shapes = {name: tuple(output.shape[1:]) for name, output in blocks.items()}
    assert shapes == {f"block{stage}{place}": size for stage, size in sizes.items() for place in "ab"}


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("silu", nn.SiLU)])
def test_every_nonlinearity_is_recorded_under_a_name_of_its_own(activation: str, kind: type[nn.Module]) -> None:
    model = fresh(activation=activation).eval()
    with record(model) as activations:
        logits = model(torch.rand(2, 3, 16, 16))
    blocks = [f"block{stage}{place}" for stage in "1234" for place in "ab"]
    assert list(activations) == [f"{block}.norm{place}_act" for block in blocks for place in "12"] + ["norm_act"]
    assert all(isinstance(model.get_submodule(name), kind) for name in activations)
    torch.testing.assert_close(model.logits(activations["norm_act"].mean((2, 3))), logits)


def test_the_last_layer_is_found_with_its_features() -> None:
    model = fresh().eval()
    inputs, labels = torch.rand(4, 3, 16, 16), torch.arange(4)
    layer = last_layer(model, inputs)
    assert layer is model.logits
    features, _ = features_of(model, layer, [(inputs, labels)])
    torch.testing.assert_close(layer(features), model(inputs))


def test_the_layout_changes_nothing() -> None:
    model = fresh().eval()
    inputs = torch.rand(2, 3, 16, 16)
    expected = model(inputs)
    with channels_last(model):
        torch.testing.assert_close(model(inputs.contiguous(memory_format=torch.channels_last)), expected)


OBJECTIVES = [
    CrossEntropy(),
    CrossEntropy() + 0.03 * InputGradient("loss", "l1", squared=False),
    CrossEntropy() + 0.03 * InputGradient("loss", "l1", squared=False, step=2 / 255),
    CrossEntropy() + 0.03 * InputGradient("loss", "l1", squared=False, step=2 / 255, every=2),
    PGDTraining(Linf(8 / 255), steps=2, warmup=0),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_running_statistics_are_those_of_one_pass_a_step(objective: Objective) -> None:
    model, inputs, labels = fresh(activation="silu"), torch.rand(4, 3, 16, 16), torch.arange(4)
    seen: list[Tensor] = []
    handle = model.norm.register_forward_pre_hook(
        lambda layer, given: seen.append(given[0].detach()) if layer.training else None
    )
    before = model.norm.running_mean.clone()
    objective(model, inputs, labels).backward()
    handle.remove()
    passed = seen[0]  # the images themselves; what is moved comes after
    torch.testing.assert_close(model.norm.running_mean, 0.9 * before + 0.1 * passed.mean((0, 2, 3)))
    assert {name: int(count) for name, count in model.named_buffers() if name.endswith("num_batches_tracked")} == (
        {f"{name}.num_batches_tracked": 1 for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    )
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_half_precision_gives_the_gradient_of_full_precision_but_for_rounding(objective: Objective) -> None:
    inputs, labels = torch.rand(16, 3, 16, 16), torch.arange(16) % 5
    gradients = []
    for enabled in (False, True):
        model = fresh(activation="silu")
        torch.manual_seed(1)
        with channels_last(model), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            objective(model, inputs.contiguous(memory_format=torch.channels_last), labels).backward()
        gradients.append(torch.cat([value.grad.flatten() for value in model.parameters() if value.grad is not None]))
    assert F.cosine_similarity(*gradients, dim=0) > 0.9
