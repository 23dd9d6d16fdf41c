import copy
from typing import Any

import pytest
import torch
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from retemper.attacks import square
from retemper.attacks.losses import margin
from retemper.attacks.square import halvings
from retemper.attacks.windows import side_of
from retemper.errors import SettingError
from retemper.models import logits
from retemper.noise import Noise
from retemper.threats import L2, NORMS, Linf, Threat


class Official(SquareAttack):
    """With windows that reach the last row and column, as the paper has them and its code does not."""

    def random_int(self, low: int = 0, high: int = 1, shape: tuple[int, ...] = (1,)) -> Tensor:
        return super().random_int(low, high + 1, list(shape))


@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.1), ("l2", 0.7)])
def test_as_many_images_stand_as_against_the_official_attack(
    digits: tuple[nn.Module, Tensor, Tensor], norm: str, radius: float
) -> None:
    model, inputs, labels = digits[0], digits[1][:80], digits[2][:80]
    ours = square(model, inputs, labels, NORMS[norm](radius), queries=1000)
    official = Official(model, norm={"linf": "Linf", "l2": "L2"}[norm], eps=radius, n_queries=1000, seed=0)
    with torch.random.fork_rng(devices=[]):
        theirs = official.perturb(inputs, labels)
    stands, stands_theirs = ((logits(model, moved).argmax(1) == labels).sum() for moved in (ours, theirs))
    assert 15 < int(stands_theirs) < 65, "otherwise there is nothing to compare"
    # Over seeds the number varies by one or two in both.
    assert abs(int(stands) - int(stands_theirs)) <= 5


@pytest.mark.parametrize("queries", [100, 5000, 10_000, 12_345])
def test_the_schedule_is_the_official_one(queries: int) -> None:
    official = SquareAttack(None, n_queries=queries, p_init=0.8)
    for query in range(queries):
        share = official.p_selection(query)
        # Theirs rounds the place in the schedule down to ten-thousandths; only that place itself may differ.
        assert share == 0.8 / 2 ** halvings(query, queries) or share == 0.8 / 2 ** (halvings(query, queries) - 1)
        if 10_000 * query % queries == 0:
            assert share == 0.8 / 2 ** halvings(query, queries)


class Watched(nn.Module):
    """Always right, and remembers what it was asked."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = torch.randn(features, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.asked: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.asked.append(inputs)
        return torch.sin(9 * inputs.flatten(1)) @ self.weight + torch.tensor([1e3, 0.0], dtype=torch.float64)


BOUNDS = [(0.0, 1.0), (-2.0, 3.0)]


def asked(threat: Threat, *shape: int, **settings: Any) -> tuple[Watched, Tensor, Tensor, Tensor]:
    model = Watched(torch.Size(shape[1:]).numel())
    share = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    inputs = threat.bounds[0] + share * (threat.bounds[1] - threat.bounds[0])
    moved = square(model, inputs, torch.zeros(len(inputs), dtype=torch.int64), threat, **settings)
    return model, inputs, torch.stack(model.asked), moved


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(3, 30), (3, 2, 20), (3, 3, 8, 8), (3, 1, 6, 9), (3, 1, 5, 5, 5)])
def test_every_query_is_a_change_of_the_best_point_so_far(
    shape: tuple[int, ...], norm: str, bounds: tuple[float, float]
) -> None:
    threat = NORMS[norm](0.3, bounds)
    model, inputs, points, moved = asked(threat, *shape, queries=80)
    labels = torch.zeros(3, dtype=torch.int64)
    assert len(points) == 80
    losses = torch.stack([margin(model(point), labels) for point in points])
    for query in range(1, 80):
        assert threat.allows(points[query], inputs).all()
        best = points[losses[:query].argmax(0), torch.arange(3)]
        if norm == "linf":
            axes = shape[1:] if len(shape) == 2 else shape[2:]
            side = side_of(0.8 / 2 ** halvings(query, 80), axes)
            changed = (points[query] != best).reshape(3, -1, *axes).any(1).flatten(1).sum(1)
            assert (changed <= side ** len(axes)).all()
            assert (changed > 0).all()
    torch.testing.assert_close(margin(model(moved), labels), losses.amax(0), rtol=0, atol=0)
    assert (losses.amax(0) > losses[0]).all()


def test_linf_points_are_corners_of_the_threat() -> None:
    threat = Linf(0.2, (-1.0, 2.0))
    _, inputs, points, _ = asked(threat, 4, 2, 6, 6, queries=40)
    low, high = (threat.project(inputs + step, inputs) for step in (-9, 9))
    for point in points:
        assert ((point == low) | (point == high)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_first_restart_begins_at_the_starts_and_the_second_does_not(norm: str) -> None:
    threat = NORMS[norm](0.3)
    starts = torch.full((3, 1, 6, 6), 0.5, dtype=torch.float64)
    _, inputs, points, _ = asked(threat, 3, 1, 6, 6, queries=4, restarts=2, starts=starts)
    _, _, drawn, _ = asked(threat, 3, 1, 6, 6, queries=4, restarts=2)
    assert torch.equal(points[0], threat.project(starts, inputs))
    assert torch.equal(points[4], drawn[4])
    assert not torch.equal(drawn[0], drawn[4])


def test_a_smaller_share_changes_less() -> None:
    changes = []
    for share in (0.05, 0.8):
        _, _, points, _ = asked(Linf(0.3), 8, 1, 12, 12, queries=20, share=share)
        changes.append(int((points[1] != points[0]).flatten(1).sum(1).amax()))
    assert changes[0] == 1
    assert 4 <= changes[1] <= 16


def test_fallen_images_leave_the_batch(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, inputs, labels = digits
    sizes: list[int] = []
    watched = copy.deepcopy(model)
    watched.register_forward_pre_hook(lambda _module, arguments: sizes.append(len(arguments[0])))
    moved = square(watched, inputs, labels, Linf(0.2), queries=60)
    standing = int((logits(model, moved).argmax(1) == labels).sum())
    assert sizes == sorted(sizes, reverse=True)
    assert standing <= sizes[-1] < 200


def test_more_queries_are_not_worse_and_noise_matters(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, inputs, labels = digits[0], digits[1][:60], digits[2][:60]
    stand = [
        int((logits(model, square(model, inputs, labels, L2(0.7), queries=queries)).argmax(1) == labels).sum())
        for queries in (1, 50, 300)
    ]
    assert stand[0] > stand[1] > stand[2]
    first, second = (
        square(model, inputs, labels, L2(0.7), Noise.for_batch(inputs, seed), queries=5) for seed in (0, 1)
    )
    assert not torch.equal(first, second)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_must_be_one(share: float) -> None:
    with pytest.raises(SettingError, match="share"):
        square(Watched(4), torch.rand(1, 4), torch.tensor([0]), Linf(0.1), share=share)


@pytest.mark.parametrize("setting", ["queries", "restarts"])
def test_numbers_below_one_are_refused_by_name(setting: str) -> None:
    with pytest.raises(SettingError, match=setting):
        square(Watched(4), torch.rand(1, 4), torch.tensor([0]), Linf(0.1), **{setting: 0})
