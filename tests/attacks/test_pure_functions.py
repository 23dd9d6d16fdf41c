"""Attacks change nothing but what they return, and that is inside the threat, whatever model and inputs they get."""

import copy
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from retemper.attacks import LOSSES, apgd, apgd_from_square, apgd_targeted, pgd, square, transfer
from retemper.attacks.losses import named
from retemper.attacks.targeted import Stage
from retemper.errors import ModelError, SettingError
from retemper.models import logits
from retemper.noise import Noise
from retemper.threats import L2, NORMS, Linf, Threat


def transfer_to_itself(model: nn.Module, *arguments: Any, **settings: Any) -> Tensor:
    return transfer(model, *arguments, surrogate=model, **settings)


def margin_race(*arguments: Any, loss: str = "margin", **settings: Any) -> Tensor:
    """Targeted APGD; it has no cross-entropy, and three classes are too few for its DLR."""
    return apgd_targeted(*arguments, loss="margin" if loss in LOSSES else loss, **settings)


ATTACKS: dict[str, Callable[..., Tensor]] = {
    "pgd": partial(pgd, steps=4),
    "apgd": partial(apgd, steps=8),
    "fgsm": partial(pgd, steps=1, random_start=False),
    "square": partial(square, queries=40),
    "apgd-from-square": partial(apgd_from_square, queries=5, steps=4, restarts=2),
    "apgd-targeted": partial(margin_race, stages=(Stage(2, 4), Stage(1, 4, 0.5))),
    "transfer": partial(transfer_to_itself, steps=7, restarts=2),
}
every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
gradient_attacks = pytest.mark.parametrize(
    "attack", [ATTACKS[name] for name in ("pgd", "apgd", "apgd-targeted", "transfer")]
)
random_attacks = pytest.mark.parametrize(
    "attack", [ATTACKS[name] for name in ("pgd", "apgd", "apgd-targeted", "square")]
)


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


@given(
    st.sampled_from(sorted(ATTACKS)),
    st.sampled_from([(1, 1), (1, 5), (3, 7), (3, 2, 6), (4, 1, 3, 3), (2, 3, 4, 4), (2, 1, 12, 9), (2, 1, 2, 3, 2)]),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from(sorted(NORMS)),
    st.floats(1e-4, 3),
    st.sampled_from([(0.0, 1.0), (-1.0, 2.0), (0.0, 255.0)]),
    st.sampled_from(sorted(LOSSES)),
    st.integers(0, 1000),
)
@settings(deadline=None, max_examples=150)
def test_what_comes_back_is_inside_ball_and_bounds(
    attack: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    norm: str,
    radius: float,
    bounds: tuple[float, float],
    loss: str,
    seed: int,
) -> None:
    inputs, labels = batch(*shape, seed=seed, dtype=dtype)
    inputs = (bounds[0] + (bounds[1] - bounds[0]) * inputs).clamp(*bounds)
    model = mlp(inputs[0].numel(), dtype=dtype)
    threat = NORMS[norm](radius, bounds)
    moved = ATTACKS[attack](model, inputs, labels, threat, Noise.for_batch(inputs, seed), loss=loss)
    assert moved.shape == inputs.shape
    assert moved.dtype == dtype
    assert not moved.requires_grad
    assert moved.min() >= bounds[0]
    assert moved.max() <= bounds[1]
    difference = (moved.double() - inputs.double()).flatten(1)
    length = difference.abs().amax() if norm == "linf" else difference.norm(dim=1).max()
    assert float(length) <= radius + torch.finfo(dtype).eps * max(1.0, float(inputs.max()), radius)


class Mixed(nn.Module):
    """Dropout, batch statistics, frozen weights, gradients left over, and modes of all kinds."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 3)
        )
        self.model[1].weight.requires_grad_(False)
        self.model[5].weight.grad = torch.ones_like(self.model[5].weight)
        self.train()
        self.model[2].eval()
        self.fails_at, self.calls = fails_at, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.fails_at:
            raise KeyError("on purpose")
        return self.model(inputs)


def everything(model: nn.Module) -> dict[str, Any]:
    return {
        "modes": {name: module.training for name, module in model.named_modules()},
        "flags": {name: value.requires_grad for name, value in model.named_parameters()},
        "gradients": {name: copy.deepcopy(value.grad) for name, value in model.named_parameters()},
        "weights": copy.deepcopy(model.state_dict()),
        "random": torch.get_rng_state(),
        "grad_enabled": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
    }


def assert_as_before(before: dict[str, Any], model: nn.Module) -> None:
    after = everything(model)
    for part in ("modes", "flags", "grad_enabled", "inference"):
        assert after[part] == before[part]
    torch.testing.assert_close(after["gradients"], before["gradients"], rtol=0, atol=0)
    torch.testing.assert_close(after["weights"], before["weights"], rtol=0, atol=0)
    assert torch.equal(after["random"], before["random"])


@every_attack
@pytest.mark.parametrize("fails_at", [None, 1, 2])
def test_model_and_global_state_are_left_alone_also_when_the_model_raises(
    attack: Callable[..., Tensor], fails_at: int | None
) -> None:
    torch.manual_seed(0)
    model = Mixed(fails_at=fails_at)
    inputs, _ = batch(6, 3, 2, 2)
    labels = copy.deepcopy(model).eval().model(inputs).argmax(1)  # all stand at first
    kept = inputs.clone()
    before = everything(model)
    if fails_at is None:
        attack(model, inputs, labels, Linf(0.01))
    else:
        with pytest.raises(ModelError, match="on purpose"):
            attack(model, inputs, labels, Linf(1e-6))
    assert_as_before(before, model)
    assert torch.equal(inputs, kept)


@every_attack
def test_inputs_that_carry_a_graph_come_back_without_one(attack: Callable[..., Tensor]) -> None:
    inputs, labels = batch(4, 12)
    moved = attack(mlp(), inputs.requires_grad_(), labels, Linf(0.01))
    assert not moved.requires_grad
    assert inputs.grad is None


@every_attack
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_attacks_work_where_gradients_are_off(attack: Callable[..., Tensor], context: Callable[[], Any]) -> None:
    model = mlp()
    inputs, labels = batch(6, 12)
    expected = attack(model, inputs, labels, L2(0.3))
    with context():
        inside, _ = batch(6, 12)
        assert torch.equal(attack(model, inside, labels.clone(), L2(0.3)), expected)
        assert not torch.is_grad_enabled()


@random_attacks
def test_the_same_seed_gives_the_same_result_and_another_seed_another(attack: Callable[..., Tensor]) -> None:
    model, (inputs, labels) = mlp(), batch(6, 12)
    labels = logits(model, inputs).argmax(1)

    def run(seed: int | None) -> Tensor:
        return attack(model, inputs, labels, L2(1e-3), None if seed is None else Noise.for_batch(inputs, seed))

    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))
    assert torch.equal(run(None), run(0))


@every_attack
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(64,), (1, 8, 8)])
def test_an_image_comes_to_the_same_alone_and_among_neighbours(
    attack: Callable[..., Tensor], norm: str, shape: tuple[int, ...]
) -> None:
    model, (inputs, _) = mlp(64, dtype=torch.float64), batch(20, *shape, dtype=torch.float64)
    labels, noise = logits(model, inputs).argmax(1), Noise.for_batch(inputs, 3)
    threat = NORMS[norm](0.07 if norm == "linf" else 0.5)
    together = attack(model, inputs, labels, threat, noise)
    fallen = logits(model, together).argmax(1) != labels
    assert 0 < int(fallen.sum()) < 20, "some leave the batch and some stay"
    for places in ([[place] for place in range(20)], [[19, 3, 7], [4, 0]]):
        for some in map(torch.tensor, places):
            apart = attack(model, inputs[some], labels[some], threat, noise[some])
            torch.testing.assert_close(apart, together[some], rtol=0, atol=1e-9)


@pytest.mark.parametrize("attack", [pgd, apgd])
@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_more_restarts_are_never_worse(attack: Callable[..., Tensor], loss: str) -> None:
    model, (inputs, _) = mlp(), batch(40, 12)
    labels = logits(model, inputs).argmax(1)
    before = torch.full((40,), -torch.inf)
    fallen = torch.zeros(40, dtype=torch.bool)
    for restarts in (1, 2, 4):
        moved = attack(model, inputs, labels, Linf(0.3), steps=2, restarts=restarts, loss=loss)
        outputs = logits(model, moved)
        now_fallen, now = outputs.argmax(1) != labels, named(loss)(outputs, labels)
        assert (now_fallen | ~fallen).all()
        assert (now_fallen | (now >= before - 1e-6)).all()
        before, fallen = now, now_fallen
    assert 0 < int(fallen.sum()) < 40


class Watched(nn.Module):
    """Remembers every batch that it was asked about, and whether a graph was built for it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.asked, self.graphs = model, [], []

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.model(inputs)
        self.asked.append(inputs.detach().clone())
        self.graphs.append(outputs.requires_grad)
        return outputs


@pytest.mark.parametrize("attack", [pgd, apgd])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("threat", [Linf(0.02), L2(0.05)], ids=str)
def test_an_image_that_stands_comes_back_at_the_highest_loss_seen(
    attack: Callable[..., Tensor], loss: str, threat: Threat
) -> None:
    model = mlp()
    for seed in range(5):
        inputs, _ = batch(1, 12, seed=seed)
        labels = logits(model, inputs).argmax(1)
        watched = Watched(model)
        moved = attack(watched, inputs, labels, threat, steps=9, restarts=2, loss=loss)
        outputs = [logits(model, asked) for asked in watched.asked]
        seen = torch.cat([named(loss)(output, labels) for output in outputs])
        if logits(model, moved).argmax(1) == labels:
            assert all(output.argmax(1) == labels for output in outputs)
            torch.testing.assert_close(named(loss)(logits(model, moved), labels)[0], seen.max(), rtol=0, atol=0)
            assert len(watched.asked) == 2 * (9 + 1)


@pytest.mark.parametrize("attack", [pgd, apgd])
def test_the_last_look_builds_no_graph(attack: Callable[..., Tensor]) -> None:
    inputs, _ = batch(1, 12)
    watched = Watched(mlp())
    attack(watched, inputs, logits(watched.model, inputs).argmax(1), Linf(1e-6), steps=3)
    assert watched.graphs == [True, True, True, False]


@pytest.mark.parametrize("attack", [pgd, apgd])
def test_fallen_images_leave_the_batch_and_come_back_adversarial(attack: Callable[..., Tensor]) -> None:
    model = mlp()
    inputs, _ = batch(60, 12)
    labels = logits(model, inputs).argmax(1)
    watched = Watched(model)
    moved = attack(watched, inputs, labels, Linf(0.3), steps=20)
    fallen = logits(model, moved).argmax(1) != labels
    assert 0 < int(fallen.sum()) < 60
    assert len(watched.asked[-1]) < 60
    assert sorted(map(len, watched.asked), reverse=True) == list(map(len, watched.asked))


class Wrapped(nn.Module):
    def __init__(self, model: nn.Module, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.model, self.wrap = model, wrap

    def forward(self, inputs: Tensor) -> Any:
        return self.wrap(self.model(inputs))


@every_attack
@pytest.mark.parametrize(
    "wrap",
    [
        lambda outputs: (outputs, "hidden"),
        lambda outputs: [outputs],
        lambda outputs: {"logits": outputs, "loss": None},
        lambda outputs: SimpleNamespace(logits=outputs),
    ],
    ids=["tuple", "list", "dict", "object"],
)
def test_logits_may_come_in_any_wrapping(attack: Callable[..., Tensor], wrap: Callable[[Tensor], Any]) -> None:
    model, (inputs, labels) = mlp(), batch(6, 12)
    plain = attack(model, inputs, labels, Linf(0.1))
    assert torch.equal(attack(Wrapped(model, wrap), inputs, labels, Linf(0.1)), plain)


@every_attack
@pytest.mark.parametrize("shape", [(-1, 1), (-1,)], ids=["(N, 1)", "(N,)"])
def test_a_single_output_is_the_score_of_class_one(attack: Callable[..., Tensor], shape: tuple[int, ...]) -> None:
    model, (inputs, labels) = mlp(classes=1), batch(6, 12, classes=2)
    two = Wrapped(model, lambda score: torch.cat([torch.zeros_like(score), score], 1))
    one = Wrapped(model, lambda score: score.reshape(shape))
    assert torch.equal(attack(one, inputs, labels, L2(0.2)), attack(two, inputs, labels, L2(0.2)))


@pytest.mark.parametrize("attack", [pgd, apgd])
def test_dlr_is_refused_for_two_classes(attack: Callable[..., Tensor]) -> None:
    inputs, labels = batch(6, 12, classes=2)
    with pytest.raises(SettingError, match="margin"):
        attack(mlp(classes=2), inputs, labels, Linf(0.1), loss="dlr")


class Spiked(nn.Module):
    """Its gradient is NaN in the first coordinate, where it takes a root at zero."""

    def forward(self, inputs: Tensor) -> Tensor:
        score = inputs[:, 1:].sum(1) - 2 + 0 * inputs[:, :1].mul(0).sqrt().sum(1)
        return torch.stack([score, -score], 1)


@pytest.mark.parametrize("attack", [pgd, apgd])
@pytest.mark.parametrize("norm", NORMS)
def test_a_nan_in_one_coordinate_of_the_gradient_hides_nothing(attack: Callable[..., Tensor], norm: str) -> None:
    inputs = torch.full((3, 5), 0.55)
    labels = torch.zeros(3, dtype=torch.int64)
    moved = attack(Spiked(), inputs, labels, NORMS[norm](0.2), steps=20)
    assert moved.isfinite().all()
    assert (logits(Spiked(), moved).argmax(1) != labels).all()


@every_attack
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": torch.tensor([0, 1])}, "3 class numbers"),
        ({"labels": torch.tensor([0.0, 1.0, 2.0])}, "float32"),
        ({"labels": torch.tensor([0, 1, -100])}, "below 0"),
        ({"labels": torch.tensor([0, 1, 3])}, "below 3"),
        ({"inputs": torch.full((3, 12), 0.5).half()}, "float16"),
        ({"inputs": torch.full((3, 12), 1.5)}, "bounds"),
        ({"loss": "hinge"}, "hinge"),
    ],
)
def test_wrong_arguments_are_refused_by_name(attack: Callable[..., Tensor], change: dict[str, Any], words: str) -> None:
    arguments = {"inputs": torch.full((3, 12), 0.5), "labels": torch.tensor([0, 1, 2])} | change
    with pytest.raises(SettingError, match=words):
        attack(mlp(), threat=Linf(0.1), **arguments)


@pytest.mark.parametrize("attack", [pgd, apgd])
@pytest.mark.parametrize("setting", ["steps", "restarts"])
def test_numbers_below_one_are_refused_by_name(attack: Callable[..., Tensor], setting: str) -> None:
    with pytest.raises(SettingError, match=setting):
        attack(mlp(), *batch(3, 12), Linf(0.1), **{setting: 0})


@gradient_attacks
@pytest.mark.parametrize("cut", [lambda outputs: outputs.detach(), lambda outputs: outputs.argmax(1)])
def test_a_model_without_gradients_is_refused(attack: Callable[..., Tensor], cut: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ModelError, match="Wrapped"):
        attack(Wrapped(mlp(), cut), *batch(3, 12), Linf(0.1))


def test_attacks_that_only_ask_the_model_need_no_gradient_of_it() -> None:
    model, (inputs, labels) = mlp(), batch(6, 12)
    cut = Wrapped(model, Tensor.detach)
    assert torch.equal(
        square(cut, inputs, labels, Linf(0.1), queries=9), square(model, inputs, labels, Linf(0.1), queries=9)
    )
    expected = transfer(model, inputs, labels, Linf(0.1), surrogate=model, steps=7)
    assert torch.equal(transfer(cut, inputs, labels, Linf(0.1), surrogate=model, steps=7), expected)
