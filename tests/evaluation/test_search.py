from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retemper.attacks import fmn
from retemper.errors import GradientError
from retemper.evaluation import Attack, plan
from retemper.evaluation.judged import Judge
from retemper.evaluation.search import SMALLER, Broken, Search, grouped
from retemper.noise import Noise
from retemper.threats import L2, Linf, Threat

CLOSEST = Attack("closest", "20 steps", partial(fmn, steps=20))


def begun(small: Any, attacks: list[Attack], **settings: Any) -> Search:
    inputs, labels = small.split.batch(slice(None))
    others = {"closest": None, "seed": 0, "forgiving": False, "advance": lambda _images: None} | settings
    return Search(Judge(small.model), inputs, labels, torch.arange(len(labels)), attacks=attacks, **others)


def stub(name: str, run: Callable[..., Tensor], **settings: Any) -> Attack:
    return Attack(name, "stub", run, **settings)


def unmoved(_model: nn.Module, inputs: Tensor, *_others: Any, **_settings: Any) -> Tensor:
    return inputs


def margin_of(model: nn.Module, image: Tensor, label: int) -> float:
    outputs = model(image[None])[0].tolist()
    return max(value for number, value in enumerate(outputs) if number != label) - outputs[label]


THREATS = {"linf": [Linf(0.02), Linf(0.05), Linf(0.1)], "l2": [L2(0.05), L2(0.15), L2(0.3)]}


@pytest.mark.parametrize("closest", [None, CLOSEST], ids=["radii alone", "closest first"])
@pytest.mark.parametrize("norm", THREATS)
def test_every_point_is_answered_wrongly_at_its_distance_and_every_image_is_counted_once(
    small: Any, norm: str, closest: Attack | None
) -> None:
    threats = THREATS[norm]
    attacks = plan(["fgsm", "pgd-ce", "apgd-targeted"], steps=4, classes=5)
    broken = begun(small, attacks, closest=closest).norm(threats)
    right = 0
    for image, label, distance, point, predicted in zip(
        small.split.inputs, small.split.labels.tolist(), broken.distances.tolist(), broken.points, broken.predicted,
        strict=True,
    ):  # fmt: skip
        answer = int(small.model(point[None]).argmax())
        assert int(predicted) == answer
        if int(small.model(image[None]).argmax()) != label:
            assert distance == 0
            continue
        right += 1
        if distance == float("inf"):
            assert answer == label
            assert torch.equal(point, image)
            continue
        moved = (point - image).flatten()
        length = float(moved.abs().max() if norm == "linf" else (moved * moved).sum().sqrt())
        assert answer != label
        assert length == pytest.approx(distance, rel=1e-12)
        assert 0 <= float(point.min()) <= float(point.max()) <= 1
        if closest is None:
            assert distance <= threats[-1].radius
    assert right == 26
    for threat, counts in zip(threats, broken.broken_by, strict=True):
        fallen = int(((broken.distances > 0) & (broken.distances <= threat.radius)).sum())
        assert sum(counts.values()) == fallen
        assert all(count > 0 for count in counts.values())
    assert 0 < sum(broken.broken_by[0].values()) < sum(broken.broken_by[-1].values()) < 26


def test_what_a_larger_radius_finds_within_a_smaller_one_counts_there_too(small: Any) -> None:
    found = begun(small, plan(["apgd-ce"], steps=20)).norm([Linf(0.1)])

    def only_when_large(_model: nn.Module, inputs: Tensor, _labels: Tensor, threat: Threat, _noise: Noise) -> Tensor:
        if threat.radius < 0.5:
            return inputs
        places = [int((small.split.inputs == image).flatten(1).all(1).nonzero()) for image in inputs]
        return found.points[places]

    fallen = int(((found.distances > 0) & (found.distances <= 0.1)).sum())
    assert fallen > 0
    broken = begun(small, [stub("late", only_when_large)]).norm([Linf(0.2), Linf(0.5), Linf(0.6)])
    assert broken.broken_by == [{"late": fallen}, {"late": fallen}, {SMALLER: fallen}]


def test_what_the_closest_attack_broke_is_not_attacked_again(small: Any) -> None:
    alone = begun(small, [stub("unmoved", unmoved)], closest=CLOSEST).norm([Linf(0.05), Linf(0.1)])
    asked: list[int] = []

    def counting(_model: nn.Module, inputs: Tensor, *_others: Any) -> Tensor:
        asked.append(len(inputs))
        return inputs

    broken = begun(small, [stub("counting", counting)], closest=CLOSEST).norm([Linf(0.05), Linf(0.1)])
    assert torch.equal(broken.distances, alone.distances)
    assert asked == [int((alone.distances > radius).sum()) for radius in (0.05, 0.1)]
    assert broken.broken_by[0] == {"closest": 26 - asked[0]}
    assert broken.broken_by[1] == {SMALLER: 26 - asked[0], "closest": asked[0] - asked[1]}


def test_near_attacks_get_only_images_whose_margin_came_down_to_their_share(small: Any) -> None:
    _, labels = small.split.batch(slice(None))
    asked: list[Tensor] = []

    def closer(_model: nn.Module, inputs: Tensor, labels: Tensor, threat: Threat, _noise: Noise) -> Tensor:
        return plan(["pgd-margin"], steps=3)[0].run(small.model, inputs, labels, threat, None)

    def looks(_model: nn.Module, inputs: Tensor, *_others: Any) -> Tensor:
        asked.append(inputs)
        return inputs

    threat, share = Linf(0.05), 0.5
    begun(small, [stub("closer", closer), stub("near", looks, near=share)]).norm([threat])
    expected = []
    right = range(small.wrong, 30)
    moved = closer(small.model, small.split.inputs[4:], labels[4:], threat, Noise(torch.empty(0)))
    for place, point in zip(right, moved, strict=True):
        first = margin_of(small.model, small.split.inputs[place], int(labels[place]))
        reached = max(first, margin_of(small.model, point, int(labels[place])))
        if share * first < reached < 0:
            expected.append(place)
    assert 0 < len(expected) < 20
    assert torch.equal(asked[0], small.split.inputs[expected])


def test_what_a_minimum_norm_attack_reached_brings_no_image_near(small: Any) -> None:
    asked: list[Tensor] = []

    def looks(_model: nn.Module, inputs: Tensor, *_others: Any) -> Tensor:
        asked.append(inputs)
        return inputs

    # It breaks images far outside the radius, where the margin says nothing of the points within.
    broken = begun(small, [stub("near", looks, near=0.5)], closest=CLOSEST).norm([Linf(1e-4)])
    assert broken.distances.isfinite().all()
    assert asked == []


def test_noise_is_keyed_by_image_seed_and_attack(small: Any) -> None:
    seen: dict[str, Tensor] = {}

    def look(name: str, _model: nn.Module, inputs: Tensor, _labels: Tensor, _threat: Threat, noise: Noise) -> Tensor:
        seen[name] = noise.keys
        return inputs

    search = begun(small, [stub(name, partial(look, name)) for name in ("one", "two")], seed=7)
    search.numbers = torch.arange(100, 130)
    search.norm([Linf(0.1)])
    for name, keys in seen.items():
        assert torch.equal(keys, Noise.keyed(torch.arange(104, 130), 7, name).keys)
    assert not torch.equal(seen["one"], seen["two"])


def cut(*_arguments: Any) -> Tensor:
    raise GradientError("no gradient")


def test_an_attack_without_gradients_breaks_nothing_or_raises(small: Any) -> None:
    attacks = [stub("cut", cut), plan(["square"], queries=200)[0]]
    forgiven = begun(small, attacks, forgiving=True).norm([Linf(0.2)])
    alone = begun(small, attacks[1:]).norm([Linf(0.2)])
    assert forgiven.broken_by == alone.broken_by != [{}]
    with pytest.raises(GradientError, match="no gradient"):
        begun(small, attacks).norm([Linf(0.2)])


def test_every_attack_at_every_threat_advances_by_all_images_of_the_chunk(small: Any) -> None:
    steps: list[int] = []
    search = begun(small, plan(["fgsm", "pgd-ce"], steps=2), closest=CLOSEST, advance=steps.append)
    search.norm([Linf(0.1), Linf(3.0)])
    assert steps == [30] * 5


def test_norms_are_searched_apart(small: Any) -> None:
    search = begun(small, plan(["pgd-ce"], steps=5))
    first, between, again = (search.norm(THREATS[norm]) for norm in ("linf", "l2", "linf"))
    assert torch.equal(first.distances, again.distances)
    assert torch.equal(first.points, again.points)
    assert not torch.equal(first.distances, between.distances)


def test_only_closer_points_are_taken_in() -> None:
    broken = Broken(
        torch.tensor([0.5, 0.2, torch.inf]),
        torch.zeros(3, 1),
        torch.tensor([1, 1, 1]),
        [],
        torch.tensor([torch.inf, 0.05, torch.inf]),
    )
    places, points = torch.tensor([2, 0, 1]), torch.tensor([[1.0], [2.0], [3.0]])
    found = places, points, torch.tensor([7, 8, 9]), torch.tensor([0.9, 0.6, 0.1])
    broken.note(*found, gradients=False)
    assert broken.distances.tolist() == pytest.approx([0.5, 0.1, 0.9])
    assert broken.points[:, 0].tolist() == [0, 3, 1]
    assert broken.predicted.tolist() == [1, 9, 7]
    assert broken.by_gradients.tolist() == pytest.approx([torch.inf, 0.05, torch.inf])
    # What gradients found counts as theirs also where something else had come closer.
    broken.note(*found, gradients=True)
    assert broken.distances.tolist() == pytest.approx([0.5, 0.1, 0.9])
    assert broken.by_gradients.tolist() == pytest.approx([0.6, 0.05, 0.9])


def test_what_gradients_broke_is_told_from_what_anything_else_broke(small: Any) -> None:
    gradients = begun(small, plan(["fgsm"])).norm([Linf(0.05)])
    both = begun(small, plan(["fgsm", "square"], queries=200)).norm([Linf(0.05), Linf(0.2)])
    ours = gradients.by_gradients <= 0.05
    assert torch.equal(ours, (gradients.distances <= 0.05) & (gradients.distances > 0))
    assert torch.equal(both.by_gradients <= 0.05, ours)
    # Some fell to Square alone, which no gradient is said to have broken; the wrong ones needed no attack.
    square = sum(counts.get("square", 0) for counts in both.broken_by)
    fallen = (both.distances > 0) & (both.distances <= 0.2)
    assert 0 < square == int((fallen & (both.by_gradients > 0.2)).sum())
    assert (both.by_gradients[both.distances == 0] == torch.inf).all()


def test_threats_are_grouped_by_norm_and_bounds_from_small_to_large() -> None:
    wide = Linf(0.2, (-1.0, 1.0))
    threats = [Linf(0.3), L2(0.5), wide, Linf(0.1), Linf(0.3), L2(0.2)]
    assert grouped(threats) == [[L2(0.2), L2(0.5)], [wide], [Linf(0.1), Linf(0.3)]]
