import pytest
import torch
from torch import Tensor, nn

from retemper.attacks import transfer
from retemper.attacks.losses import margin
from retemper.errors import ModelError, SettingError
from retemper.models import logits
from retemper.noise import Noise
from retemper.threats import L2, NORMS, Linf, Threat


class Small(nn.Module):
    """Four numbers, three classes, in float64; answers 0 with so much margin; remembers what it was asked."""

    def __init__(self, seed: int, lead: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = 3 * torch.randn(4, 6, generator=generator, dtype=torch.float64)
        self.last = torch.randn(6, 3, generator=generator, dtype=torch.float64)
        self.lead = torch.tensor([lead, 0.0, 0.0], dtype=torch.float64)
        self.asked: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.asked.append(inputs.detach().clone())
        return torch.sin(inputs.flatten(1) @ self.first) @ self.last + self.lead


def drawn(images: int) -> Tensor:
    return torch.rand(images, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def momentum_ascent(surrogate: nn.Module, x: Tensor, start: Tensor, threat: Threat, steps: int) -> list[Tensor]:
    """Algorithm 1 of Dong et al. on one image of class 0: g = mu g + grad / |grad|_1, along which x moves."""
    point, g, points = start, torch.zeros_like(start), []
    for _ in range(steps):
        leaf = point.clone().requires_grad_()
        z = surrogate(leaf[None])[0]
        (gradient,) = torch.autograd.grad(torch.maximum(z[1], z[2]) - z[0], leaf)
        g = 1.0 * g + gradient / gradient.abs().sum()
        direction = g.sign() if threat.norm == "linf" else g / g.norm()
        point = threat.project((point + threat.radius * 2.5 / steps * direction)[None], x[None])[0]
        points.append(point)
    return points


@pytest.mark.parametrize("norm", NORMS)
def test_the_points_tried_are_every_fifth_and_the_last_of_a_plain_ascent_on_the_surrogate(norm: str) -> None:
    model, surrogate, inputs, threat = Small(1, lead=99), Small(2), drawn(3), NORMS[norm](0.1)
    labels, noise = torch.zeros(3, dtype=torch.int64), Noise.for_batch(inputs)
    moved = transfer(model, inputs, labels, threat, noise, surrogate=surrogate, steps=12, restarts=2)
    tried = model.asked[1:]  # after the first question, for the number of classes
    assert len(tried) == 2 * 3
    starts = [inputs, threat.random_start(inputs, noise.at(1))]
    for restart, start in enumerate(starts):
        for image in range(3):
            points = momentum_ascent(surrogate, inputs[image], start[image], threat, 12)
            for ours, step in zip(tried[3 * restart : 3 * restart + 3], (5, 10, 12), strict=True):
                torch.testing.assert_close(ours[image], points[step - 1], rtol=0, atol=1e-9)
    losses = torch.stack([margin(model(point), labels) for point in tried])
    torch.testing.assert_close(margin(model(moved), labels), losses.amax(0), rtol=0, atol=0)


def test_what_fools_the_surrogate_alone_is_not_taken_for_adversarial() -> None:
    model, surrogate, inputs = Small(1, lead=99), Small(2), drawn(8)
    labels = surrogate(inputs).argmax(1).mul(0)
    moved = transfer(model, inputs, labels, Linf(0.5), surrogate=surrogate, steps=10)
    assert (surrogate(moved).argmax(1) != 0).any()
    assert all(len(asked) == 8 for asked in model.asked[1:]), "nobody falls, nobody leaves"


@pytest.mark.parametrize("norm", NORMS)
def test_fallen_images_leave_and_come_back_adversarial(norm: str) -> None:
    model, surrogate, inputs = Small(1), Small(1), drawn(60)
    surrogate.first = surrogate.first + 0.1
    labels = model(inputs).argmax(1)
    model.asked = []
    threat = NORMS[norm](0.1 if norm == "linf" else 0.2)
    moved = transfer(model, inputs, labels, threat, surrogate=surrogate, steps=20)
    fallen = int((logits(model, moved).argmax(1) != labels).sum())
    sizes = [len(asked) for asked in model.asked[1:-1]]
    assert 0 < fallen < 60
    assert sizes[0] == 60
    assert 60 > sizes[-1] >= 60 - fallen
    assert threat.allows(moved, inputs).all()


def test_only_the_surrogate_is_differentiated() -> None:
    model, surrogate, inputs = Small(1), Small(2), drawn(4)
    labels = model(inputs).argmax(1)
    with pytest.raises(ModelError, match="differentiated"):
        transfer(model, inputs, labels, L2(0.1), surrogate=nn.Sequential(surrogate, Cut()))
    expected = transfer(model, inputs, labels, L2(0.1), surrogate=surrogate)
    assert torch.equal(transfer(nn.Sequential(model, Cut()), inputs, labels, L2(0.1), surrogate=surrogate), expected)


class Cut(nn.Module):
    def forward(self, outputs: Tensor) -> Tensor:
        return outputs.detach()


@pytest.mark.parametrize("mode", [True, False])
def test_the_surrogate_is_left_in_its_mode_and_run_in_evaluation_mode(mode: bool) -> None:
    surrogate = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.9), nn.Linear(8, 3)).double().train(mode)
    inputs = drawn(4)
    first, second = (
        transfer(Small(1, 9), inputs, torch.zeros(4, dtype=torch.int64), L2(0.1), surrogate=surrogate) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert all(module.training is mode for module in surrogate.modules())
    assert surrogate[1].num_batches_tracked.item() == 0
    assert all(parameter.grad is None for parameter in surrogate.parameters())


def test_a_surrogate_with_other_classes_is_refused() -> None:
    other = nn.Linear(4, 5).double()
    with pytest.raises(ModelError, match="3 classes of the model, but Linear has 5"):
        transfer(Small(1), drawn(2), torch.tensor([0, 1]), Linf(0.1), surrogate=other)


@pytest.mark.parametrize("setting", ["steps", "restarts"])
def test_numbers_below_one_are_refused_by_name(setting: str) -> None:
    with pytest.raises(SettingError, match=setting):
        transfer(Small(1), drawn(2), torch.tensor([0, 1]), Linf(0.1), surrogate=Small(2), **{setting: 0})


class WithoutGradient(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.detach())


def test_a_surrogate_without_gradients_is_refused_and_not_passed_over() -> None:
    inputs, labels = torch.rand(4, 5), torch.arange(4) % 3
    with pytest.raises(ModelError, match="The surrogate cannot be followed") as error:
        transfer(nn.Linear(5, 3), inputs, labels, Linf(0.1), surrogate=WithoutGradient(5, 3).requires_grad_(False))
    assert type(error.value) is ModelError
