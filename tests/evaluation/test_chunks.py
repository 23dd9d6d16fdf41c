import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retemper.data import Split
from retemper.errors import CheckpointError
from retemper.evaluation import Attack, Evaluation, evaluate, plan
from retemper.evaluation.chunks import Found
from retemper.evaluation.processes import Processes
from retemper.evaluation.search import Broken
from retemper.threats import L2, Linf, Threat

THREATS: list[Threat] = [Linf(0.1), L2(0.15), Linf(0.03), Linf(0.06)]
ATTACKS = plan(["fgsm", "pgd-ce", "apgd-targeted"], steps=4, classes=5)


def run(small: Any, **settings: Any) -> Evaluation:
    given = {"attacks": ATTACKS, "alarms": False, "progress": False} | settings
    return evaluate(small.model, small.split, THREATS, **given)


def test_what_was_found_comes_back_from_a_piece() -> None:
    broken = [
        Broken(
            torch.rand(3).double(),
            torch.rand(3, 2),
            torch.tensor([1, 2, 0]),
            [{"a": number}, {}],
            torch.rand(3).double(),
        )
        for number in range(2)
    ]
    found = Found(torch.tensor([0, 1, 2]), broken)
    again = Found.of(found.as_piece())
    assert torch.equal(again.predicted, found.predicted)
    for ours, theirs in zip(again.norms, broken, strict=True):
        assert ours.broken_by == theirs.broken_by
        for name in ("distances", "points", "predicted", "by_gradients"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))


def test_a_piece_of_before_does_not_say_what_gradients_broke() -> None:
    one = Broken(torch.rand(3), torch.rand(3, 2), torch.tensor([1, 2, 0]), [{}], torch.rand(3))
    piece = Found(torch.tensor([0, 1, 2]), [one]).as_piece()
    del piece.tensors["by_gradients-0"]
    (again,) = Found.of(piece).norms
    assert torch.equal(again.distances, one.distances)
    assert again.by_gradients.tolist() == [torch.inf] * 3


@pytest.mark.parametrize("closest", [True, False])
def test_the_result_of_an_image_does_not_hang_on_its_chunk(small: Any, closest: bool) -> None:
    first, *others = [run(small, batch_size=size, curve=closest) for size in (3, 7)]
    for other in others:
        for ours, theirs in zip(first.robustness, other.robustness, strict=True):
            assert ours.standing.tolist() == theirs.standing.tolist()
            assert ours.broken_by == theirs.broken_by
        for ours, theirs in zip(first.curves, other.curves, strict=True):
            np.testing.assert_allclose(ours.distances, theirs.distances, rtol=0, atol=1e-9)
            # Roundings along a boundary may add up, where fifty steps go to and fro across it.
            torch.testing.assert_close(ours.points, theirs.points, rtol=0, atol=1e-3 if closest else 1e-9)
    assert {found.standing.sum() for found in first.robustness}.isdisjoint({0, 26})


@pytest.mark.parametrize("closest", [True, False])
def test_curves_agree_with_what_stands_and_never_rise(small: Any, closest: bool) -> None:
    found = run(small, batch_size=8, curve=closest)
    curves = {curve.norm: curve for curve in found.curves}
    assert {norm: curve.reach for norm, curve in curves.items()} == {"linf": 0.1, "l2": 0.15}
    for robustness in found.robustness:
        curve = curves[robustness.threat.norm]
        assert curve.accuracy(robustness.threat.radius) == robustness.accuracy
        assert (curve.distances > robustness.threat.radius).tolist() == robustness.standing.tolist()
        assert sum(robustness.broken_by.values()) + robustness.standing.sum() + small.wrong == 30
    for curve in curves.values():
        assert curve.closest == closest
        assert curve.accuracy(0) == found.clean_accuracy
        for (_, higher), (_, lower) in pairwise(curve.steps()):
            assert lower < higher
    ordered = sorted((each for each in found.robustness if each.threat.norm == "linf"), key=lambda x: x.threat.radius)
    for smaller, larger in pairwise(ordered):
        assert (larger.standing <= smaller.standing).all()
        assert larger.accuracy < smaller.accuracy


def test_every_point_of_a_curve_is_answered_wrongly_at_its_distance(small: Any) -> None:
    threats = {"linf": Linf, "l2": L2}
    for curve in run(small, batch_size=8, curve=True).curves:
        for place, (distance, point) in enumerate(zip(curve.distances, curve.points, strict=True)):
            label, image = int(small.split.labels[place]), small.split.inputs[place]
            answer = int(small.model(point[None]).argmax())
            assert (answer != label) == np.isfinite(distance)
            if 0 < distance < np.inf:
                assert threats[curve.norm](float(distance)).allows(point[None], image[None]).all()


def test_results_are_the_same_whatever_is_kept(small: Any) -> None:
    nothing, some, everything = (run(small, keep=keep, batch_size=7) for keep in (0, 3, 99))
    assert nothing.as_json() == some.as_json() == everything.as_json()
    for few, all_of_them in zip(some.robustness, everything.robustness, strict=True):
        assert [example.index for example in few.examples] == [example.index for example in all_of_them.examples][:3]
        assert len(all_of_them.examples) == sum(all_of_them.broken_by.values())


def interrupted(small: Any, at: int) -> Callable[..., Tensor]:
    """The first of `ATTACKS`, but its call of this number is a keyboard interrupt."""
    calls: list[int] = []

    def attack(*arguments: Any) -> Tensor:
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return ATTACKS[0].run(*arguments)

    return attack


@pytest.mark.parametrize("at", [1, 6])
def test_an_interrupted_evaluation_goes_on_to_the_same_end(small: Any, tmp_path: Path, at: int) -> None:
    whole = run(small, batch_size=7)
    stops = [Attack(ATTACKS[0].name, ATTACKS[0].settings, interrupted(small, at)), *ATTACKS[1:]]
    with pytest.raises(KeyboardInterrupt):
        run(small, attacks=stops, batch_size=7, out=tmp_path)
    done = len(list(tmp_path.glob("chunk-*.safetensors")))
    assert done == (at - 1) // 4, "the attack runs at each of four threats"
    went_on = run(small, batch_size=7, out=tmp_path, keep=5)
    assert json.dumps(went_on.as_json()) == json.dumps(whole.as_json())
    for ours, theirs in zip(went_on.robustness, run(small, batch_size=7, keep=5).robustness, strict=True):
        for one, other in zip(ours.examples, theirs.examples, strict=True):
            assert torch.equal(one.adversarial, other.adversarial)


def test_what_is_done_is_not_attacked_again(small: Any, tmp_path: Path) -> None:
    whole = run(small, batch_size=7, out=tmp_path, alarms=True)

    def never(*_arguments: Any) -> Tensor:
        pytest.fail("attacked again")

    attacks = [Attack(attack.name, attack.settings, never) for attack in ATTACKS]
    again = run(small, batch_size=7, out=tmp_path, alarms=True, attacks=attacks)
    assert json.dumps(again.as_json()) == json.dumps(whole.as_json())
    with pytest.raises(pytest.fail.Exception):
        run(small, batch_size=7, out=tmp_path, alarms=True, attacks=attacks, resume=False)


def test_the_bar_begins_where_the_killed_run_was_and_ends_full(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def bar(_label: str, total: int, done: int = 0, *, shown: bool) -> Iterator[Callable[[int], None]]:
        counts = [done]
        yield counts.append
        bars.append((total, done, sum(counts)))

    bars: list[tuple[int, int, int]] = []
    monkeypatch.setattr(sys.modules["retemper.evaluation.evaluate"], "progress_line", bar)
    run(small, batch_size=7, out=tmp_path)
    (tmp_path / "chunk-00001.safetensors").unlink()
    run(small, batch_size=7, out=tmp_path)
    runs = len(THREATS) * len(ATTACKS)
    assert bars == [(30 * runs, 0, 30 * runs), (30 * runs, 23 * runs, 30 * runs)]


def test_only_the_main_process_deletes_what_was_there(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BegunError(Exception): ...

    class Second(Processes):
        def __init__(self) -> None:
            self.index, self.count, self.device = 1, 2, None

        def main_first(self) -> AbstractContextManager[None]:
            return nullcontext()

        def own(self, number: int) -> bool:
            raise BegunError

    run(small, batch_size=7, out=tmp_path)
    kept = sorted(tmp_path.iterdir())
    monkeypatch.setattr(sys.modules["retemper.evaluation.evaluate"], "Processes", Second)
    with pytest.raises(BegunError):
        run(small, batch_size=7, out=tmp_path, resume=False)
    assert sorted(tmp_path.iterdir()) == kept


def other_weights(small: Any) -> dict[str, Any]:
    with torch.no_grad():
        small.model[1].bias += 1e-6
    return {}


def other_activation(small: Any) -> dict[str, Any]:
    small.model[2] = nn.Sigmoid().eval()
    return {}


def training_mode(small: Any) -> dict[str, Any]:
    small.model.train()
    return {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _small: {"seed": 1}, "seed"),
        (lambda _small: {"batch_size": 8}, "batch_size"),
        (lambda _small: {"curve": True}, "curve"),
        (lambda _small: {"alarms": True}, "alarms"),
        (lambda _small: {"attacks": ATTACKS[:2]}, "attacks"),
        (lambda _small: {"attacks": plan(["fgsm", "pgd-ce", "apgd-targeted"], steps=5, classes=5)}, "attacks"),
        (lambda _small: {"surrogate": nn.Linear(9, 5)}, "surrogate, attacks"),
        (other_weights, "weights"),
        (other_activation, "architecture"),
        (training_mode, "mode"),
    ],
    ids=[
        "seed",
        "batch_size",
        "curve",
        "alarms",
        "fewer attacks",
        "more steps",
        "surrogate",
        "weights",
        "activation",
        "mode",
    ],
)
def test_another_evaluation_in_the_same_folder_is_refused_by_name(
    small: Any, tmp_path: Path, change: Callable[[Any], dict[str, Any]], words: str
) -> None:
    run(small, batch_size=7, out=tmp_path)
    with pytest.raises(CheckpointError, match=rf"differs in {words}( \(was .*, is .*\))?\. "):
        run(small, **({"batch_size": 7, "out": tmp_path} | change(small)))


def test_other_images_and_threats_in_the_same_folder_are_refused(small: Any, tmp_path: Path) -> None:
    run(small, batch_size=7, out=tmp_path)
    settings: dict[str, Any] = {
        "attacks": ATTACKS, "alarms": False, "progress": False, "batch_size": 7, "out": tmp_path,
    }  # fmt: skip
    with pytest.raises(CheckpointError, match=r"differs in data \(other images or .*\)\. "):
        evaluate(small.model, small.split.take(29), THREATS, **settings)
    with pytest.raises(CheckpointError, match=r"differs in data \(other images or .*\)\. "):
        evaluate(small.model, Split(small.split.inputs, small.split.labels.roll(1)), THREATS, **settings)
    with pytest.raises(CheckpointError, match=r"differs in threats"):
        evaluate(small.model, small.split, [*THREATS[:3], Linf(0.06, (-1.0, 1.0))], **settings)


def test_a_damaged_chunk_is_named(small: Any, tmp_path: Path) -> None:
    run(small, batch_size=7, out=tmp_path)
    path = tmp_path / "chunk-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"chunk-00002\.safetensors is damaged"):
        run(small, batch_size=7, out=tmp_path)
    path.unlink()
    assert run(small, batch_size=7, out=tmp_path).as_json() == run(small, batch_size=7).as_json()
