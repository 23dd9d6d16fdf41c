import pytest
import torch
from torch import nn

from retemper.models.layout import channels_last, channels_last_pays, runs_channels_last


@pytest.mark.parametrize(
    ("shape", "pays"),
    [
        *[((3, 32, 32), True), ((1, 16, 16), True), ((1, 8, 8), False), ((3, 15, 17), False)],
        *[((784,), False), ((28, 28), False), ((3, 4, 32, 32), False)],
    ],
)
def test_it_pays_for_images_from_sixteen_by_sixteen(shape: tuple[int, ...], pays: bool) -> None:
    assert channels_last_pays(shape) == pays


def layouts(model: nn.Module) -> list[bool]:
    """Whether the weights of the convolution are contiguous, and whether they are channels-last."""
    weight = model[0].weight
    return [weight.is_contiguous(), weight.is_contiguous(memory_format=torch.channels_last)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 2))


def test_weights_are_channels_last_inside_the_block_alone_and_keep_their_values() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weight = model[0].weight
    inputs = torch.rand(2, 3, 16, 16)
    expected = model(inputs)
    with channels_last(model):
        assert layouts(model) == [False, True]
        outputs = model(inputs.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(outputs, expected)
    assert layouts(model) == [True, False]
    assert model[0].weight is weight, "an optimiser still holds it"
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_unwanted_nothing_changes() -> None:
    model = network()
    with channels_last(model, wanted=False):
        assert layouts(model) == [True, False]


def test_weights_are_put_back_where_the_block_fails() -> None:
    model = network()
    with pytest.raises(KeyError), channels_last(model):
        raise KeyError
    assert layouts(model) == [True, False]


def test_a_model_with_weights_for_volumes_keeps_its_layout() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv3d(1, 2, 3))
    before = [parameter.stride() for parameter in model.parameters()]
    with channels_last(model):
        assert [parameter.stride() for parameter in model.parameters()] == before


def test_a_model_that_views_is_seen_not_to_run_so(viewing: nn.Module) -> None:
    assert runs_channels_last(network(), torch.rand(2, 3, 16, 16))
    inputs = torch.rand(2, 1, 16, 16)
    assert not runs_channels_last(viewing.train(), inputs)
    assert viewing.training
    assert viewing(inputs).shape == (2, 10)
    assert not runs_channels_last(network(), torch.rand(2, 3, 8, 8)), "too small for the layout to pay"
