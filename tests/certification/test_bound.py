import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from retemper.certification import lipschitz_bound
from retemper.certification.bound import in_float64
from retemper.errors import ModelError
from retemper.models import Normalise, create


def linear(*rows: list[float]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows))
    layer.weight.data = torch.tensor(rows)
    return layer


def test_norms_multiply() -> None:
    model = nn.Sequential(
        Normalise([0.5], [0.25]), nn.Sequential(linear([3.0, 0.0], [0.0, 2.0]), nn.ReLU()), linear([0.6, 0.8])
    )
    assert lipschitz_bound(model) == pytest.approx(4 * 3 * 1)
    assert lipschitz_bound(model) > 12 * (1 + 1e-10)


@pytest.mark.parametrize("name", ["lipschitz-cnn", "small-cnn", "lenet5", "mlp"])
def test_no_gradient_of_a_network_exceeds_its_bound(name: str) -> None:
    torch.manual_seed(0)
    model = create(name, shape=(1, 8, 8), classes=4, mean=(0.5,), std=(0.3,)).double()
    bound = lipschitz_bound(model)
    for image in torch.rand(5, 1, 1, 8, 8, dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(model, image).reshape(4, 64)
        assert torch.linalg.matrix_norm(jacobian, ord=2) <= bound


def test_weights_count_as_they_are_and_not_as_they_were_trained() -> None:
    model = create("lipschitz-cnn", shape=(1, 8, 8), classes=2)
    untouched = lipschitz_bound(model)
    model.conv1a.parametrizations.weight[0].turns.data *= 7  # still orthogonal: any raw weights are
    assert lipschitz_bound(model) == pytest.approx(untouched, rel=1e-5)
    tampered = in_float64(model)
    tampered.conv1a.weight.mul_(3)
    assert lipschitz_bound(tampered) == pytest.approx(3 * untouched, rel=1e-3)
    tampered.dense.weight[0, 0] += 7
    assert lipschitz_bound(tampered) > 15 * untouched


def test_the_model_stays_as_it_is() -> None:
    model = create("lipschitz-cnn", shape=(1, 8, 8), classes=2)
    inputs = torch.rand(2, 1, 8, 8)
    expected, kinds = model(inputs), [type(layer) for layer in model]
    assert lipschitz_bound(model) == lipschitz_bound(model)
    assert torch.equal(model(inputs), expected)
    assert [type(layer) for layer in model] == kinds
    assert model.training
    assert all(value.requires_grad and value.dtype == torch.float32 for value in model.parameters())


def test_weights_computed_from_others_are_taken_as_computed() -> None:
    torch.manual_seed(0)
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    expected = torch.linalg.matrix_norm(layer.weight.detach().double(), ord=2)
    assert lipschitz_bound(layer) == pytest.approx(float(expected))


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return 5 * self.layer(inputs)


class Twice(nn.Sequential):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(super().forward(inputs))


@pytest.mark.parametrize("model", [Own(), Twice(nn.Linear(2, 2)), nn.Sequential(Own()), nn.Sequential()])
def test_what_does_not_run_in_a_row_is_refused(model: nn.Module) -> None:
    with pytest.raises(ModelError, match=r"known for (Own|Twice|Sequential)"):
        lipschitz_bound(model)
