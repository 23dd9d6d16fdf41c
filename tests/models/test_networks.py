import pytest
import torch
from torch import nn

from retemper.errors import ModelError, SettingError
from retemper.models import ACTIVATIONS, NETWORKS, create

SHAPES = [(1, 28, 28), (3, 28, 28), (1, 32, 32), (3, 32, 32), (1, 8, 8), (3, 8, 8), (1, 1, 1), (2, 5, 9)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_network_takes_every_size(name: str, shape: tuple[int, ...]) -> None:
    model = create(name, shape=shape, classes=7)
    outputs = model(torch.rand(2, *shape))
    assert outputs.shape == (2, 7)
    outputs.sum().backward()
    assert all(value.grad is not None for value in model.parameters())


def test_the_mlp_takes_vectors() -> None:
    assert create("mlp", shape=(13,), classes=2)(torch.rand(4, 13)).shape == (4, 2)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "mlp"])
def test_convolutions_refuse_vectors_and_name_the_mlp(name: str) -> None:
    with pytest.raises(ModelError, match="mlp"):
        create(name, shape=(13,), classes=2)


@pytest.mark.parametrize(("name", "features"), [("entropic-cnn", 4096), ("entropic-cnn-unpadded", 1600)])
def test_the_papers_network_has_its_widths(name: str, features: int) -> None:
    model = create(name, shape=(3, 32, 32), classes=10)
    filters = [layer.out_channels for layer in model if isinstance(layer, nn.Conv2d)]
    widths = [layer.out_features for layer in model if isinstance(layer, nn.Linear)]
    assert filters == [32, 32, 64, 64]
    assert widths == [512, 256, 128, 128, 84, 10]
    assert model.dense1.in_features == features


def count(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())


def test_parameters_are_as_many_as_counted_by_hand() -> None:
    # LeNet-5 on 28x28: 6 filters of 25 and a bias, 16 of 6 * 25, then 16 * 5 * 5 -> 120 -> 84 -> 10.
    lenet = 6 * (25 + 1) + 16 * (6 * 25 + 1) + 120 * (400 + 1) + 84 * (120 + 1) + 10 * (84 + 1)
    assert lenet == 61_706
    assert count(create("lenet5", shape=(1, 28, 28), classes=10)) == lenet
    # Madry et al. for MNIST: 5x5 convolutions of 32 and 64 filters, 7 * 7 * 64 -> 1024 -> 10.
    madry = 32 * (25 + 1) + 64 * (32 * 25 + 1) + 1024 * (7 * 7 * 64 + 1) + 10 * (1024 + 1)
    assert count(create("madry-cnn", shape=(1, 28, 28), classes=10)) == madry


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_activation_is_the_one_asked_for_after_every_layer_but_the_last(activation: str) -> None:
    model = create("small-cnn", shape=(1, 8, 8), classes=3, activation=activation)
    layers = dict(model.named_children())
    followed = [name for name, layer in layers.items() if isinstance(layer, nn.Conv2d | nn.Linear) and name != "logits"]
    assert followed == ["conv1", "conv2", "dense1"]
    assert all(type(layers[f"{name}_act"]) is ACTIVATIONS[activation] for name in followed)
    assert next(iter(layers)) == "normalise"
    assert list(layers)[-1] == "logits"


def test_normalisation_inside_is_normalising_by_hand() -> None:
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    torch.manual_seed(0)
    inside = create("small-cnn", shape=(3, 8, 8), classes=3, mean=mean, std=std)
    outside = create("small-cnn", shape=(3, 8, 8), classes=3)
    outside.load_state_dict(
        {name: value for name, value in inside.state_dict().items() if "normalise" not in name}, strict=False
    )
    images = torch.rand(2, 3, 8, 8)
    by_hand = images.clone()
    for channel in range(3):
        by_hand[:, channel] = (images[:, channel] - mean[channel]) / std[channel]
    torch.testing.assert_close(inside(images), outside(by_hand))


def test_weights_come_from_torchs_generator() -> None:
    torch.manual_seed(4)
    first = create("mlp", shape=(4,), classes=2)
    torch.manual_seed(4)
    second = create("mlp", shape=(4,), classes=2)
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "resnet"}, "'resnet'.*package.module:factory"),
        ({"activation": "swish"}, "swish"),
        ({"classes": 1}, "two or more classes"),
        ({"mean": (0.5, 0.5), "std": (1.0, 1.0)}, "3 channels"),
        ({"mean": (0.5,), "std": (1.0, 1.0)}, "as many means"),
        ({"mean": (0.5,), "std": (0.0,)}, "above 0"),
    ],
)
def test_wrong_arguments_are_refused_by_name(change: dict, words: str) -> None:
    arguments = {"name": "lenet5", "shape": (3, 8, 8), "classes": 2} | change
    with pytest.raises(SettingError, match=words):
        create(**arguments)
