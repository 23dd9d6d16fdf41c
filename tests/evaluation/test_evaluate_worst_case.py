"""An image stands only if every attack failed on it, at its radius and at every smaller one."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retemper.data import Split
from retemper.evaluation import Attack, evaluate, plan, wilson
from retemper.noise import Noise
from retemper.threats import L2, Linf, Threat

EVERYWHERE = Linf(1.0)
QUIETLY = {"alarms": False, "progress": False}


class Breaks:
    """A stub that gives some images, told by their first pixel, a wrong answer; notes which ones it was asked for."""

    def __init__(self, chosen: Callable[[float], bool]) -> None:
        self.chosen = chosen
        self.calls: list[list[float]] = []

    def __call__(self, model: nn.Module, inputs: Tensor, labels: Tensor, _threat: Threat, _noise: Noise) -> Tensor:
        self.calls.append(inputs[:, 0, 0, 0].tolist())
        candidates = inputs.clone()
        for place, image in enumerate(inputs):
            if self.chosen(float(image[0, 0, 0])):
                candidates[place] = another_answer(model, image, int(labels[place]))
        return candidates

    @property
    def asked(self) -> list[float]:
        return [pixel for call in self.calls for pixel in call]


def another_answer(model: nn.Module, image: Tensor, label: int) -> Tensor:
    """Some point of [0, 1] that is answered otherwise."""
    candidates = torch.rand(500, *image.shape, generator=torch.Generator().manual_seed(3))
    return candidates[model(candidates).argmax(1) != label][0]


def stub(name: str, run: Callable[..., Tensor]) -> Attack:
    return Attack(name, "stub", run)


def test_an_image_stands_only_if_no_attack_run_alone_breaks_it(small_float32: Any) -> None:
    model, split = small_float32.model, small_float32.split
    attacks = plan(["fgsm", "pgd-margin", "apgd-ce"], steps=5)
    threats = [Linf(0.05), L2(0.3), Linf(0.2)]
    evaluation = evaluate(model, split, threats, attacks=attacks, batch_size=1000, **QUIETLY)
    inputs, labels = split.batch(slice(None))
    assert evaluation.clean.tolist() == [False] * 10 + [True] * 50
    # The attacks alone, each with the noise of the images that the evaluation gives it.
    for found in evaluation.robustness:
        smaller = [
            other for other in threats if other.norm == found.threat.norm and other.radius <= found.threat.radius
        ]
        standing = list(range(10, 60))
        for threat in sorted(smaller, key=lambda threat: threat.radius):
            for attack in attacks:
                noise = Noise.keyed(torch.tensor(standing), 0, attack.name)
                moved = attack.run(model, inputs[standing], labels[standing], threat, noise)
                answers = model(moved).argmax(1).tolist()
                standing = [
                    place for place, answer in zip(standing, answers, strict=True) if answer == int(labels[place])
                ]
        assert found.standing.nonzero()[0].tolist() == standing
        assert 0 < len(standing) < 50
        assert found.accuracy == len(standing) / 60
        assert found.interval == wilson(len(standing), 60)
    assert evaluation.clean_accuracy == 50 / 60
    assert evaluation.clean_interval == wilson(50, 60)
    assert evaluation.attacks == tuple(str(attack) for attack in attacks)


def test_only_images_that_still_stand_go_on(small_float32: Any) -> None:
    split = small_float32.split
    first, second, third = Breaks(lambda pixel: pixel < 0.3), Breaks(lambda pixel: pixel < 0.6), Breaks(lambda _: False)
    attacks = [stub("first", first), stub("second", second), stub("third", third)]
    evaluation = evaluate(small_float32.model, split, [EVERYWHERE], attacks=attacks, batch_size=7, **QUIETLY)
    right = split.inputs[10:, 0, 0, 0].tolist()
    assert first.asked == right
    assert second.asked == [pixel for pixel in right if pixel >= 0.3]
    assert third.asked == [pixel for pixel in right if pixel >= 0.6]
    assert all(len(call) <= 7 for call in first.calls)
    assert evaluation.robustness[0].broken_by == {
        "first": sum(pixel < 0.3 for pixel in right),
        "second": sum(0.3 <= pixel < 0.6 for pixel in right),
    }


@pytest.mark.parametrize(("images", "calls"), [(slice(10, 15), 2), (slice(0, 5), 0)], ids=["right", "wrong"])
def test_no_attack_runs_once_no_image_stands(small_float32: Any, images: slice, calls: int) -> None:
    first, second = Breaks(lambda _: True), Breaks(lambda _: True)
    evaluation = evaluate(
        small_float32.model,
        Split(*small_float32.split.batch(images)),
        [EVERYWHERE, L2(9)],
        attacks=[stub("first", first), stub("second", second)],
        **QUIETLY,
    )
    assert [found.accuracy for found in evaluation.robustness] == [0, 0]
    assert len(first.calls) == calls
    assert second.calls == []


def test_robust_accuracy_never_rises_with_the_radius_even_if_attacks_get_worse(small_float32: Any) -> None:
    pgd_like = plan(["pgd-ce"], steps=5)[0].run

    def worse_when_larger(model: nn.Module, inputs: Tensor, labels: Tensor, threat: Threat, noise: Noise) -> Tensor:
        return pgd_like(model, inputs, labels, threat, noise) if threat.radius < 0.2 else inputs

    threats = [Linf(0.3), Linf(0.1), L2(0.5), Linf(0.05), L2(0.1), Linf(0.1)]
    attacks = [stub("odd", worse_when_larger)]
    evaluation = evaluate(small_float32.model, small_float32.split, threats, attacks=attacks, **QUIETLY)
    assert [found.threat for found in evaluation.robustness] == threats
    by_threat = {found.threat: found for found in evaluation.robustness}
    for norm in (Linf, L2):
        ordered = [
            by_threat[threat] for threat in sorted(by_threat, key=lambda t: t.radius) if isinstance(threat, norm)
        ]
        for smaller, larger in pairwise(ordered):
            assert (smaller.standing >= larger.standing).all()
            assert larger.broken_by["smaller radius"] == sum(smaller.broken_by.values())
    assert by_threat[Linf(0.05)].accuracy > by_threat[Linf(0.1)].accuracy
    assert "smaller radius" not in by_threat[Linf(0.05)].broken_by
    assert evaluation.robustness[1] is evaluation.robustness[5]


def test_broken_and_standing_images_add_up_to_those_answered_rightly(small_float32: Any) -> None:
    attacks = plan(["apgd-ce", "apgd-dlr"], steps=5)
    threats = [Linf(0.05), Linf(0.2)]
    evaluation = evaluate(small_float32.model, small_float32.split, threats, attacks=attacks, **QUIETLY)
    for found in evaluation.robustness:
        assert sum(found.broken_by.values()) + int(found.standing.sum()) == int(evaluation.clean.sum())
        assert not (found.standing & ~evaluation.clean).any()
