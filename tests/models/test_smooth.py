from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper.errors import ModelError
from retemper.models import NETWORKS, Network, create, load, save, smooth
from retemper.models.silu import SiLU
from retemper.models.smooth import RECTIFIERS, smooth_unless_it_fails

RECTIFIED = [name for name in NETWORKS if name != "lipschitz-cnn"]


@pytest.mark.parametrize("name", RECTIFIED)
@pytest.mark.parametrize("activation", ["relu", "leaky-relu"])
def test_a_network_becomes_the_one_that_was_built_smooth(name: str, activation: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create(name, shape=(3, 8, 8), classes=4, activation=activation).eval()
    names = list(model.state_dict())
    images = torch.rand(3, 3, 8, 8)
    rectified = model(images)
    built = create(name, shape=(3, 8, 8), classes=4, activation="silu").eval()
    built.load_state_dict(model.state_dict())
    assert smooth(model) == sum(isinstance(module, SiLU) for module in built.modules())
    assert list(model.state_dict()) == names
    assert torch.equal(model(images), built(images))
    assert not torch.equal(model(images), rectified)
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert isinstance(again, Network)
    assert again.spec == built.spec
    assert torch.equal(again(images), model(images))


@pytest.mark.parametrize("kind", RECTIFIERS)
def test_every_rectifier_goes(kind: type[nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(4, 4), kind())
    assert smooth(model) == 1
    inputs = torch.randn(3, 4)
    assert torch.equal(model(inputs), F.silu(model[0](inputs)))


class Own(nn.Module):
    """One rectifier at two places, one that works in place, one in evaluation mode, and what has to stay."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.ReLU()
        self.body = nn.Sequential(nn.Linear(4, 4), self.shared, nn.Linear(4, 4), nn.PReLU())
        self.last = nn.ModuleDict({"act": nn.ReLU(inplace=True), "sharper": Squared(), "fixed": nn.ReLU().eval()})

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last["fixed"](self.last["sharper"](self.last["act"](self.shared(self.body(inputs)))))


class Squared(nn.ReLU):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).square()


def test_of_another_network_rectifiers_alone_go_and_sharing_stays() -> None:
    torch.manual_seed(0)
    model = Own()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    slope = model.body[3]
    assert smooth(model) == 3
    assert type(model.shared) is SiLU
    assert model.body[1] is model.shared
    assert type(model.last["sharper"]) is Squared
    assert model.body[3] is slope
    assert model.shared.training
    assert not model.last["fixed"].training
    assert all(torch.equal(model.state_dict()[name], value) for name, value in weights.items())
    inputs = torch.randn(3, 4)
    hidden = F.silu(F.prelu(model.body[2](F.silu(model.body[0](inputs))), slope.weight))
    assert torch.equal(model(inputs), F.silu(F.relu(F.silu(hidden)).square()))


def test_a_network_of_this_package_inside_another_knows_what_it_has_become() -> None:
    model = nn.Sequential(create("mlp", shape=(4,), classes=2), nn.ReLU())
    assert smooth(model) == 3
    assert model[0].spec.activation == "silu"


class Functional(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return F.relu(inputs)


@pytest.mark.parametrize(
    "model", [Functional(), nn.ReLU(), nn.PReLU(), Squared(), create("mlp", shape=(4,), classes=2, activation="silu")]
)
def test_nothing_to_swap_is_an_error_that_says_what_to_do(model: nn.Module) -> None:
    with pytest.raises(ModelError, match=rf"{type(model).__name__} has none.*make them modules"):
        smooth(model)


def test_the_lipschitz_network_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="'lipschitz-cnn' has MaxMin"):
        smooth(create("lipschitz-cnn", shape=(1, 8, 8), classes=2))


def test_the_own_network_of_a_factory_is_loaded_as_it_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rectified_networks.py").write_text(
        "from torch import nn\n"
        "def rectified(): return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))\n"
        "def smooth(): return nn.Sequential(nn.Linear(4, 5), nn.SiLU(), nn.Linear(5, 2))\n"
    )
    monkeypatch.chdir(tmp_path)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    inputs = torch.randn(6, 4)
    for place in ("rectified", "swapped"):
        save(model, tmp_path / f"{place}.safetensors")
        for factory in ("rectified", "smooth") if place == "swapped" else ("rectified",):
            again = load(tmp_path / f"{place}.safetensors", f"rectified_networks:{factory}")
            torch.testing.assert_close(again(inputs), model(inputs))
        if place == "rectified":
            smooth(model)


def transformer() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, activation=nn.ReLU(), batch_first=True), nn.Linear(8, 3))


def test_a_layer_with_a_fused_kernel_is_smooth_without_gradients_too() -> None:
    model, inputs = transformer().eval(), torch.randn(4, 5, 8)
    rectified = model(inputs)
    assert smooth(model) == 1
    with torch.no_grad():
        fused = model(inputs)
    torch.testing.assert_close(fused, model(inputs).detach())
    assert not torch.allclose(fused, rectified)


def test_a_layer_with_a_fused_kernel_has_it_again_where_the_block_fails() -> None:
    model, inputs = transformer().eval(), torch.randn(4, 5, 8)
    expected = model(inputs)
    with pytest.raises(KeyError), smooth_unless_it_fails(model):
        raise KeyError
    assert model[0].activation_relu_or_gelu == 1
    with torch.no_grad():
        torch.testing.assert_close(model(inputs), expected)
