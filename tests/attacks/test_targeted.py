"""Targeted Auto-PGD whose targets race: closed forms, a plain loop, and who leaves when."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retemper.attacks import apgd_targeted
from retemper.attacks.losses import TARGETED, named_targeted
from retemper.attacks.targeted import STAGES, Stage
from retemper.errors import SettingError
from retemper.models import logits
from retemper.noise import Noise
from retemper.threats import L2, NORMS, Linf, Threat

WIDE = (-50.0, 50.0)  # bounds that no attack meets


def network(classes: int = 6, features: int = 8) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(features, 16), nn.SiLU(), nn.Linear(16, classes)).double()
        with torch.no_grad():
            for weights in model.parameters():
                weights.mul_(3)
        return model


def batch(model: nn.Module, images: int = 20, features: int = 8) -> tuple[Tensor, Tensor]:
    """Images with the model's own answers."""
    inputs = torch.rand(images, features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return inputs, logits(model, inputs).argmax(1)


class Watched(nn.Module):
    """Remembers what it was asked with gradients on."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.asked: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.asked.append(inputs.detach().clone())
        return self.model(inputs)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("classes", "loss"), [(2, "margin"), (3, "margin"), (5, "margin"), (5, "dlr")])
def test_on_a_linear_model_every_image_falls_just_beyond_its_distance_and_none_before(
    norm: str, classes: int, loss: str
) -> None:
    torch.manual_seed(classes)
    model = nn.Linear(7, classes).double().requires_grad_(False)
    inputs = torch.rand(12, 7, dtype=torch.float64)
    labels = model(inputs).argmax(1)
    for image, label in zip(inputs, labels.tolist(), strict=True):
        outputs = model(image[None])[0]
        distances = []
        for other in range(classes):
            if other != label:
                slope = model.weight[other] - model.weight[label]
                length = slope.abs().sum() if norm == "linf" else (slope * slope).sum().sqrt()
                distances.append(float((outputs[label] - outputs[other]) / length))
        for share, falls in ((1.02, True), (0.98, False)):
            threat = NORMS[norm](share * min(distances), WIDE)
            moved = apgd_targeted(model, image[None], torch.tensor([label]), threat, loss=loss)
            assert (int(model(moved).argmax()) != label) == falls


def climbed_by_hand(
    model: nn.Module, image: Tensor, label: int, threat: Threat, noise: Noise, stages: tuple[Stage, ...], loss: str
) -> tuple[Tensor, list[list[int]], list[Tensor]]:
    """The race of one image, target by target, in plain Python: its point, the targets kept, all iterates."""

    def look(point: Tensor, target: int) -> tuple[float, bool, Tensor]:
        point = point.clone().requires_grad_()
        outputs = model(point[None])
        value = named_targeted(loss)(outputs, torch.tensor([label]), torch.tensor([target]))[0]
        (slope,) = torch.autograd.grad(value, point)
        return float(value.detach()), int(outputs.argmax()) != label, slope

    def project(point: Tensor) -> Tensor:
        return threat.project(point[None], image[None])[0]

    outputs = model(image[None])[0].tolist()
    targets = sorted((number for number in range(len(outputs)) if number != label), key=lambda k: -outputs[k])
    targets = targets[: stages[0].targets]
    best = {target: threat.random_start(image[None], noise.at(lane))[0] for lane, target in enumerate(targets)}
    kept, iterates = [], []
    for stage in stages:
        if kept:
            targets = sorted(targets, key=lambda target: -highest[target])[: stage.targets]
        kept.append(targets)
        due = {-(-share * stage.steps // 100) for share in (22, 41, 57, 70, 80, 87, 93, 99)}
        state = {
            target: {"point": best[target], "before": best[target], "size": stage.step_size * threat.radius,
                     "rises": 0, "last": float("inf"), "then": -float("inf"), "halved": True, "slope": None}
            for target in targets
        }  # fmt: skip
        highest = dict.fromkeys(targets, -float("inf"))
        steepest: dict[int, Tensor] = {}
        checked = 0
        for step in range(stage.steps):
            for target in targets:
                lane: dict[str, Any] = state[target]
                if step > 0:
                    if step - 1 in due:
                        few = lane["rises"] < 0.75 * (step - 1 - checked)
                        stalled = few or (not lane["halved"] and highest[target] <= lane["then"])
                        if stalled:
                            lane |= {"size": lane["size"] / 2, "point": best[target], "slope": steepest[target]}
                            lane["last"] = highest[target]
                        lane |= {"then": highest[target], "halved": stalled, "rises": 0}
                    ahead = project(lane["point"] + lane["size"] * threat.steepest(lane["slope"][None])[0])
                    move = ahead - lane["point"]
                    if step > 1:
                        move = 0.75 * move + 0.25 * (lane["point"] - lane["before"])
                    lane["before"], lane["point"] = lane["point"], project(lane["point"] + move)
                iterates.append(lane["point"])
                value, fell, lane["slope"] = look(lane["point"], target)
                lane["rises"] += value > lane["last"]
                lane["last"] = value
                if value > highest[target]:
                    highest[target], best[target], steepest[target] = value, lane["point"], lane["slope"]
                assert not fell, "this loop is for images that stand"
            if step > 0 and step - 1 in due:
                checked = step - 1
    return best[max(targets, key=highest.__getitem__)], kept, iterates


@pytest.mark.parametrize(("threat", "loss"), [(Linf(0.05), "dlr"), (L2(0.12), "margin")], ids=["linf", "l2"])
def test_an_image_goes_where_a_plain_loop_goes(threat: Threat, loss: str) -> None:
    model = network(classes=20)
    inputs, labels = batch(model, 20)
    noise = Noise.for_batch(inputs, 4)
    stages = (Stage(4, 6, 1.0), Stage(2, 8, 0.5), Stage(1, 5, 0.25))
    standing = 0
    changed = 0
    for place in range(20):
        one = torch.tensor([place])
        watched = Watched(model)
        moved = apgd_targeted(watched, inputs[one], labels[one], threat, noise[one], stages=stages, loss=loss)
        if logits(model, moved).argmax(1) != labels[one]:
            continue
        standing += 1
        image, label = inputs[place], int(labels[place])
        expected, kept, iterates = climbed_by_hand(model, image, label, threat, noise[one], stages, loss)
        changed += kept[1] != kept[0][:2]
        torch.testing.assert_close(moved[0], expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(torch.cat(watched.asked), torch.stack(iterates), rtol=0, atol=1e-9)
    assert standing > 5
    assert changed > 0, "somewhere other targets than the first go on"


def test_fallen_images_leave_with_all_their_targets() -> None:
    model = network()
    inputs, labels = batch(model, 40)
    watched = Watched(model)
    moved = apgd_targeted(watched, inputs, labels, Linf(0.1), stages=(Stage(3, 10), Stage(2, 10)), loss="margin")
    fallen = logits(model, moved).argmax(1) != labels
    assert 0 < int(fallen.sum()) < 40
    left = 40
    for step, asked in enumerate(watched.asked):
        lanes = 3 if step < 10 else 2
        assert len(asked) == left * lanes
        left -= fell_now(model, inputs, labels, asked, lanes, Linf(0.1))
    assert left == 40 - int(fallen.sum())


def fell_now(model: nn.Module, inputs: Tensor, labels: Tensor, asked: Tensor, lanes: int, threat: Threat) -> int:
    """How many images have a row that is answered wrongly; each row lies within the threat of one image alone."""
    answers = logits(model, asked).argmax(1)
    owners = [
        next(place for place, image in enumerate(inputs) if threat.allows(row[None], image[None])) for row in asked
    ]
    assert all(owners.count(owner) == lanes for owner in owners)
    return len({owner for owner, answer in zip(owners, answers.tolist(), strict=True) if answer != int(labels[owner])})


@pytest.mark.parametrize("rows", [1, 7, 16, 512])
def test_the_result_does_not_hang_on_how_many_rows_run_at_once(rows: int) -> None:
    model = network()
    inputs, labels = batch(model)
    noise = Noise.for_batch(inputs, 2)
    expected = apgd_targeted(model, inputs, labels, Linf(0.05), noise)
    watched = Watched(model)
    moved = apgd_targeted(watched, inputs, labels, Linf(0.05), noise, rows=rows)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-9)
    assert max(map(len, watched.asked)) <= max(rows, 5)


@pytest.mark.parametrize("loss", TARGETED)
def test_every_kind_of_wrong_answer_counts_also_another_than_the_target(loss: str) -> None:
    class Detour(nn.Module):
        """On the way from class 0 to class 1, the nearest, lies class 3."""

        def forward(self, inputs: Tensor) -> Tensor:
            way = inputs[:, 0]
            between = 4 - 40 * (way - 0.5).abs()
            return torch.stack([1 - 2 * way, -0.5 + way / 10, -3 + 0 * way, between - 2, -9 + 0 * way], 1)

    inputs = torch.full((1, 1), 0.3, dtype=torch.float64)
    moved = apgd_targeted(Detour(), inputs, torch.tensor([0]), Linf(0.25), loss=loss, stages=(Stage(1, 40),))
    assert logits(Detour(), moved).argmax(1).tolist() == [3]


@pytest.mark.parametrize(("classes", "rows"), [(2, [1, 1, 1]), (4, [3, 3, 2]), (20, [9, 4, 2])])
def test_with_fewer_classes_there_are_fewer_targets(classes: int, rows: list[int]) -> None:
    model = network(classes)
    inputs, labels = batch(model, 1)
    watched = Watched(model)
    apgd_targeted(watched, inputs, labels, Linf(1e-6), loss="margin")
    counts = [len(asked) for asked in watched.asked]
    assert counts == [number for number, stage in zip(rows, STAGES, strict=True) for _ in range(stage.steps)]


@pytest.mark.parametrize("classes", [2, 3])
def test_dlr_is_refused_below_four_classes(classes: int) -> None:
    model = network(classes)
    with pytest.raises(SettingError, match=r"four largest logits.*margin"):
        apgd_targeted(model, *batch(model), Linf(0.1), loss="dlr")


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ((), "at least one stage"),
        ((Stage(2, 5), Stage(3, 5)), "ever fewer targets"),
        ((Stage(0, 5),), "targets"),
        ((Stage(1, 0),), "steps"),
    ],
)
def test_impossible_stages_are_refused(stages: tuple[Stage, ...], words: str) -> None:
    model = network()
    with pytest.raises(SettingError, match=words):
        apgd_targeted(model, *batch(model), Linf(0.1), stages=stages)


def test_more_stages_break_no_fewer_images() -> None:
    model = network()
    inputs, labels = batch(model, 60)
    before = torch.zeros(60, dtype=torch.bool)
    for count in (1, 2, 3):
        moved = apgd_targeted(model, inputs, labels, L2(0.12), stages=STAGES[:count])
        fallen = logits(model, moved).argmax(1) != labels
        assert (fallen | ~before).all()
        before = fallen
    assert 0 < int(before.sum()) < 60
