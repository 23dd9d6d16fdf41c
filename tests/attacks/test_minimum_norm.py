"""What every attack that minimises the distance keeps to, and how far it gets where the least distance is known."""

import copy
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from retemper.attacks.deepfool import deepfool
from retemper.attacks.fab import fab
from retemper.attacks.fmn import fmn
from retemper.errors import ModelError, SettingError
from retemper.models import logits
from retemper.threats import L2, NORMS, Linf, Threat

ATTACKS: dict[str, Callable[..., Tensor]] = {
    "fmn": partial(fmn, steps=10),
    "deepfool": partial(deepfool, steps=10),
    "fab": partial(fab, steps=5),
    "targeted fab": partial(fab, steps=5, targets=2, restarts=2),
}
every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
with_a_fast_mode = pytest.mark.parametrize("attack", [ATTACKS["fmn"], ATTACKS["targeted fab"]], ids=["fmn", "fab"])


def mlp(features: int = 12, classes: int = 3, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(features, 16), nn.SiLU(), nn.Linear(16, classes, bias=False))
        with torch.no_grad():
            for weights in model.parameters():
                weights.mul_(4)  # so that answers differ and change
        return model.to(dtype)


def batch(*shape: int, classes: int = 3, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(shape, generator=generator, dtype=dtype)
    return inputs, torch.randint(classes, shape[:1], generator=generator)


def linear(classes: int, norm: str, scale: float) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A linear model, inputs, the answers to them, and how far the nearest other answer is."""
    generator = torch.Generator().manual_seed(classes)
    weight = torch.linalg.qr(torch.randn(12, classes, generator=generator, dtype=torch.float64)).Q.T
    model = nn.Linear(12, classes, dtype=torch.float64)
    model.weight.data = scale * weight
    model.bias.data = scale * torch.randn(classes, generator=generator, dtype=torch.float64)
    inputs = torch.randn(20, 12, generator=generator, dtype=torch.float64)
    scores = model(inputs).detach()
    labels = scores.argmax(1)
    distances = torch.empty(len(inputs), dtype=torch.float64)
    for image, label in enumerate(labels.tolist()):
        distances[image] = min(
            float(scores[image, label] - scores[image, other])
            / float((scale * (weight[label] - weight[other])).norm(p=1 if norm == "linf" else 2))
            for other in range(classes)
            if other != label
        )
    return model, inputs, labels, distances


@pytest.mark.parametrize(
    "attack",
    [
        partial(fmn, steps=200, step_size=1.0),
        partial(deepfool, overshoot=0.005),
        partial(fab, steps=5),
        partial(fab, steps=5, targets=9),
    ],
    ids=["fmn", "deepfool", "fab", "targeted fab"],
)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize(
    ("scale", "bounds"), [(1e-5, (-1e4, 1e4)), (1.0, (-math.inf, math.inf)), (1e4, (-1e4, 1e4))], ids=str
)
def test_on_linear_models_the_least_distance_is_reached_and_not_gone_below(
    attack: Callable[..., Tensor], norm: str, classes: int, scale: float, bounds: tuple[float, float]
) -> None:
    model, inputs, labels, distances = linear(classes, norm, scale)
    threat = NORMS[norm](1e-3, bounds)  # far smaller than the distances: the radius must not matter
    moved = attack(model, inputs, labels, threat)
    assert (logits(model, moved).argmax(1) != labels).all()
    share = threat.distance(moved, inputs) / distances
    assert float(share.min()) >= 1 - 1e-9
    assert float(share.max()) <= 1.01


@given(
    st.sampled_from(sorted(ATTACKS)),
    st.sampled_from([(1, 5), (3, 7), (4, 1, 3, 3), (2, 3, 4, 4), (2, 1, 2, 3, 2)]),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from(sorted(NORMS)),
    st.floats(1e-4, 3),
    st.sampled_from([(0.0, 1.0), (-1.0, 2.0), (0.0, 255.0)]),
    st.integers(2, 4),
    st.integers(0, 1000),
)
@settings(deadline=None, max_examples=80)
def test_what_comes_back_is_adversarial_inside_the_bounds_or_the_input(
    attack: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    norm: str,
    radius: float,
    bounds: tuple[float, float],
    classes: int,
    seed: int,
) -> None:
    inputs, labels = batch(*shape, classes=classes, seed=seed, dtype=dtype)
    inputs = (bounds[0] + (bounds[1] - bounds[0]) * inputs).clamp(*bounds)
    model = mlp(inputs[0].numel(), classes, dtype)
    kept = inputs.clone()
    threat = NORMS[norm](radius, bounds)
    moved = ATTACKS[attack](model, inputs, labels, threat)
    assert torch.equal(inputs, kept)
    assert moved.shape == inputs.shape
    assert moved.dtype == dtype
    assert not moved.requires_grad
    assert moved.min() >= bounds[0]
    assert moved.max() <= bounds[1]
    changed = (moved != inputs).flatten(1).any(1)
    # One image at a time: the rounding of a batch may hang on its size.
    wrong = torch.stack([logits(model, image[None]).argmax(1)[0] for image in moved]) != labels
    wrong_before = logits(model, inputs).argmax(1) != labels
    margins = logits(model, moved).topk(2, dim=1).values.diff(dim=1).abs()[:, 0]
    on_the_boundary = margins < 1e3 * torch.finfo(dtype).eps * logits(model, moved).abs().amax(1)
    assert (wrong | on_the_boundary)[changed].all()
    assert not (changed & wrong_before).any()


@every_attack
def test_an_image_does_not_hang_on_its_neighbours(attack: Callable[..., Tensor]) -> None:
    inputs, _ = batch(6, 12, dtype=torch.float64)
    model = mlp(dtype=torch.float64)
    labels = logits(model, inputs).argmax(1)
    together = attack(model, inputs, labels, L2(0.5))
    first = attack(model, inputs[:2], labels[:2], L2(0.5))
    torch.testing.assert_close(first, together[:2], rtol=0, atol=1e-7)


@every_attack
@pytest.mark.parametrize("norm", NORMS)
def test_distances_grow_with_the_bounds(attack: Callable[..., Tensor], norm: str) -> None:
    inputs, _ = batch(20, 12, dtype=torch.float64)
    model = mlp(dtype=torch.float64)
    labels = logits(model, inputs).argmax(1)
    small = attack(model, inputs, labels, NORMS[norm](0.1))
    scaled = copy.deepcopy(model)
    scaled[1].weight.data /= 255
    large = attack(scaled, 255 * inputs, labels, NORMS[norm](25.5, (0.0, 255.0)))
    torch.testing.assert_close(large / 255, small, rtol=0, atol=1e-6)


class Odd(nn.Module):
    """Adds what the test wants to the logits of a model."""

    def __init__(self, model: nn.Module, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.change = model, change
        self.asked: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.asked.append(len(inputs))
        assert inputs.isfinite().all()
        return self.change(self.model(inputs), inputs)


@every_attack
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("wholly", [True, False], ids=["everywhere", "beyond a line"])
def test_nan_logits_prove_nothing(attack: Callable[..., Tensor], norm: str, classes: int, wholly: bool) -> None:
    inputs, _ = batch(20, 12)
    labels = logits(mlp(classes=classes), inputs).argmax(1)

    def spoil(outputs: Tensor, asked: Tensor) -> Tensor:
        bad = torch.ones_like(asked[:, :1], dtype=torch.bool) if wholly else asked[:, :1] > 0.6
        return outputs.masked_fill(bad, torch.nan)

    model = Odd(mlp(classes=classes), spoil)
    moved = attack(model, inputs, labels, NORMS[norm](0.3))
    outputs = logits(model, moved)
    changed = (moved != inputs).any(1)
    assert moved.isfinite().all()
    assert outputs[changed].isfinite().all()
    assert bool(changed.any()) is not wholly


@every_attack
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("tie", [True, False])
def test_a_constant_model_gives_the_inputs_back(attack: Callable[..., Tensor], norm: str, tie: bool) -> None:
    inputs, _ = batch(4, 12)
    level = torch.zeros(3) if tie else torch.tensor([2.0, 1.0, 0.0])
    model = Odd(mlp(), lambda outputs, _: 0 * outputs + level)
    labels = torch.zeros(4, dtype=torch.int64)
    assert torch.equal(attack(model, inputs, labels, NORMS[norm](0.3)), inputs)


@every_attack
def test_an_image_answered_wrongly_leaves_at_once(attack: Callable[..., Tensor]) -> None:
    inputs, _ = batch(6, 12)
    model = Odd(mlp(), lambda outputs, _: outputs)
    labels = (logits(model, inputs).argmax(1) + 1) % 3
    model.asked = []
    assert torch.equal(attack(model, inputs, labels, L2(0.3)), inputs)
    assert len(model.asked) <= 2


@with_a_fast_mode
@pytest.mark.parametrize("threat", [Linf(0.15), L2(0.4)], ids=str)
def test_within_the_threat_images_leave_as_soon_as_they_have_fallen(
    attack: Callable[..., Tensor], threat: Threat
) -> None:
    inputs, _ = batch(60, 12)
    model = Odd(mlp(), lambda outputs, _: outputs)
    labels = logits(model, inputs).argmax(1)
    model.asked = []
    closest = attack(model, inputs, labels, threat)
    passes, model.asked = sum(model.asked), []
    moved = attack(model, inputs, labels, threat, within=True)
    assert sum(model.asked) < passes
    assert model.asked[-1] < len(inputs)
    inside = threat.allows(closest, inputs) & (logits(model, closest).argmax(1) != labels)
    assert 0 < int(inside.sum()) < len(inputs)
    fallen = threat.allows(moved, inputs) & (logits(model, moved).argmax(1) != labels)
    assert torch.equal(inside, fallen)
    assert (threat.distance(moved, inputs) >= threat.distance(closest, inputs) - 1e-6)[inside].all()


class Mixed(nn.Module):
    """Dropout, batch statistics, frozen weights, gradients left over, and modes of all kinds."""

    def __init__(self, fails_at: int | None) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
        self.model[1].weight.requires_grad_(False)
        self.model[4].weight.grad = torch.ones_like(self.model[4].weight)
        self.train()
        self.model[2].eval()
        self.fails_at, self.calls = fails_at, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.fails_at:
            raise KeyError("on purpose")
        return self.model(inputs)


@every_attack
@pytest.mark.parametrize("fails_at", [None, 1, 3])
def test_model_and_global_state_are_left_alone_also_when_the_model_raises(
    attack: Callable[..., Tensor], fails_at: int | None
) -> None:
    torch.manual_seed(0)
    model = Mixed(fails_at)
    inputs, _ = batch(6, 3, 2, 2)
    labels = copy.deepcopy(model).eval().model(inputs).argmax(1)

    def everything() -> list[object]:
        return [
            *(module.training for module in model.modules()),
            *(value.requires_grad for value in model.parameters()),
            *(None if value.grad is None else value.grad.tolist() for value in model.parameters()),
            *(value.tolist() for value in model.state_dict().values()),
            torch.get_rng_state().tolist(),
            torch.is_grad_enabled(),
        ]

    before = everything()
    if fails_at is None:
        attack(model, inputs, labels, Linf(0.01))
    else:
        with pytest.raises(ModelError, match="on purpose"):
            attack(model, inputs, labels, Linf(0.01))
    assert everything() == before


@every_attack
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_attacks_work_where_gradients_are_off(attack: Callable[..., Tensor], context: Callable[[], object]) -> None:
    model = mlp()
    inputs, labels = batch(6, 12)
    expected = attack(model, inputs, labels, L2(0.3))
    with context():  # type: ignore[attr-defined] # both are context managers
        inside, _ = batch(6, 12)
        assert torch.equal(attack(model, inside, labels.clone(), L2(0.3)), expected)
        assert not torch.is_grad_enabled()


@every_attack
def test_wrong_arguments_are_refused_by_name(attack: Callable[..., Tensor]) -> None:
    inputs, labels = batch(3, 12)
    with pytest.raises(SettingError, match="steps"):
        attack(mlp(), inputs, labels, Linf(0.1), steps=0)
    with pytest.raises(SettingError, match="below 3"):
        attack(mlp(), inputs, labels + 3, Linf(0.1))
    with pytest.raises(SettingError, match="bounds"):
        attack(mlp(), inputs + 2, labels, Linf(0.1))
    with pytest.raises(ModelError, match="Odd"):
        attack(Odd(mlp(), lambda outputs, _: outputs.detach()), inputs, labels, Linf(0.1))
