from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import retemper.evaluation.answering
from retemper.data import Split
from retemper.errors import GradientError
from retemper.evaluation import Alarm, evaluate, plan
from retemper.evaluation.answering import ANSWERED, answer
from retemper.evaluation.images import Images, divided
from retemper.evaluation.judged import Judge
from retemper.evaluation.pieces import Pieces
from retemper.evaluation.processes import Processes
from retemper.evaluation.search import SMALLER, Broken
from retemper.noise import Noise
from retemper.threats import Linf, Threat

LOUD = Alarm("loud", 0.5, 0.1, "share", "seen", "meaning", "source")
QUIET = replace(LOUD, name="quiet", effect=0.0)
THREATS = [Linf(0.1), Linf(0.2), Linf(0.3)]
INF = float("inf")


class Above(nn.Module):
    """Answers 1 above a half, else 0."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([0.5 - inputs, inputs - 0.5], 1)


# The first and the fourth image fall within 0.1, and so on; chunks of two differ, so that they can be told apart.
INPUTS = torch.tensor([[0.45], [0.35], [0.25], [0.45], [0.35], [0.25]], dtype=torch.float64)
LABELS = torch.zeros(6, dtype=torch.int64)
IMAGES = Images(Split(INPUTS, LABELS), torch.device("cpu"), torch.float64)


def answering(
    monkeypatch: pytest.MonkeyPatch,
    distances: Sequence[float],
    moves: Callable[[Threat], float],
    after: Callable[[int], tuple[Alarm, ...]] = lambda _first: (LOUD, QUIET),
    before: tuple[Alarm, ...] = (LOUD, QUIET),
    folder: Path | None = None,
    known_broken: list[list[bool]] | None = None,
    samples: list[Any] | None = None,
) -> tuple[list[tuple[Alarm, ...]], Broken, list[Any]]:
    """Answer six images in chunks of two; whatever stands is moved up so far, and claimed to have fallen.

    `known_broken` takes what alarms and answers are told that gradients have broken, `samples` for each sounding the
    images that are probed, those that are to stand, and the share that does.
    """
    asked: list[Any] = []
    known_broken = [] if known_broken is None else known_broken
    samples = [] if samples is None else samples

    def sounded(
        _model: nn.Module,
        inputs: Tensor,
        _labels: Tensor,
        standing: Tensor,
        _threat: Threat,
        _noise: Noise,
        *,
        broken: Tensor,
        probed: Tensor,
        share: float,
        was_training: bool,
    ) -> tuple[Alarm, ...]:
        assert not was_training
        asked.append(("sound", inputs[:, 0].tolist()))
        samples.append((inputs[probed, 0].tolist(), inputs[standing, 0].tolist(), share))
        known_broken.append(broken.tolist())
        return before

    def answered(
        _model: nn.Module,
        inputs: Tensor,
        _labels: Tensor,
        standing: Tensor,
        threat: Threat,
        *_others: Any,
        broken: Tensor,
    ) -> tuple[Tensor, Tensor, tuple[Alarm, ...]]:
        first = int((INPUTS.view(3, 2) == inputs.view(1, 2)).all(1).nonzero()[0])
        asked.append(("answer", threat.radius, standing.tolist()))
        known_broken.append(broken.tolist())
        moved = torch.where(standing[:, None], inputs + moves(threat), inputs)
        return moved, standing.clone(), after(first)

    monkeypatch.setattr(retemper.evaluation.answering, "sound", sounded)
    monkeypatch.setattr(retemper.evaluation.answering, "answered", answered)
    known = torch.tensor(distances, dtype=torch.float64)
    counts = [{"attack": int(((known > 0) & (known <= threat.radius)).sum())} for threat in THREATS]
    by_gradients = torch.where(known > 0, known, INF)
    broken = Broken(known, INPUTS.clone(), LABELS.clone(), counts, by_gradients)
    alarms = answer(
        Judge(Above()), IMAGES, divided(len(INPUTS), 2), THREATS, broken, seed=0, was_training=False,
        pieces=Pieces(folder, {}, resume=True), processes=Processes(),
    )  # fmt: skip
    return alarms, broken, asked


def assert_every_image_is_counted_once(broken: Broken) -> None:
    for threat, counts in zip(THREATS, broken.broken_by, strict=True):
        fallen = (broken.distances > 0) & (broken.distances <= threat.radius)
        assert sum(counts.values()) == int(fallen.sum())


def test_what_falls_to_an_answer_is_noted_and_counted_once_at_every_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    # An answer moves by the radius: the first fall at 0.1, the second at 0.2, the third at 0.3.
    _, broken, _ = answering(monkeypatch, [INF] * 6, lambda threat: threat.radius)
    assert broken.distances.tolist() == pytest.approx([0.1, 0.2, 0.3] * 2)
    assert broken.predicted.tolist() == [1] * 6
    assert torch.allclose(broken.points, INPUTS + broken.distances[:, None])
    assert broken.broken_by == [
        {"attack": 0, ANSWERED: 2},
        {"attack": 0, SMALLER: 2, ANSWERED: 2},
        {"attack": 0, SMALLER: 4, ANSWERED: 2},
    ]
    assert_every_image_is_counted_once(broken)


def test_an_image_that_had_fallen_at_a_larger_radius_is_not_counted_there_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, broken, _ = answering(monkeypatch, [0.15, 0.0, INF, 0.25, INF, 0.3], lambda threat: threat.radius)
    assert broken.distances.tolist() == pytest.approx([0.1, 0.0, 0.3, 0.1, 0.2, 0.3])
    assert broken.broken_by == [
        {"attack": 0, ANSWERED: 2},
        {"attack": 1, SMALLER: 1, ANSWERED: 1},
        {"attack": 3, SMALLER: 1, ANSWERED: 1},
    ]
    assert_every_image_is_counted_once(broken)


def test_what_an_answer_finds_within_a_smaller_radius_counts_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    _, broken, _ = answering(monkeypatch, [INF] * 6, lambda threat: 0.08 if threat.radius == 0.3 else 0.0)
    assert broken.distances.tolist() == pytest.approx([0.08, INF, INF] * 2)
    assert [counts.get(ANSWERED) for counts in broken.broken_by] == [2, 2, 2]
    assert_every_image_is_counted_once(broken)


@pytest.mark.parametrize("move", [0.4, 0.0, -0.5], ids=["outside the radius", "answered rightly", "outside the bounds"])
def test_an_answer_that_is_no_adversarial_input_breaks_nothing(monkeypatch: pytest.MonkeyPatch, move: float) -> None:
    _, broken, _ = answering(monkeypatch, [INF] * 6, lambda _threat: move)
    assert broken.distances.tolist() == [INF] * 6
    assert broken.broken_by == [{"attack": 0}] * 3


def test_alarms_are_sounded_on_what_is_answered_rightly_and_answered_on_every_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, _, asked = answering(monkeypatch, [0.05, 0.15, INF, INF, 0.0, 0.05], lambda _threat: 0.0)
    assert asked[:4] == [
        ("sound", INPUTS[[0, 1, 2, 3, 5], 0].tolist()),
        ("answer", 0.1, [False, True]),
        ("answer", 0.1, [True, True]),
        ("answer", 0.1, [False, False]),
    ]
    assert [what for what, *_ in asked] == ["sound", "answer", "answer", "answer"] * 3


def test_alarms_and_answers_are_told_what_the_models_own_gradients_broke_at_that_radius(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[list[bool]] = []
    # The fourth falls to an answer at the smallest radius already, along a view whose gradients are not its own.
    answering(monkeypatch, [0.05, 0.15, INF, 0.25, INF, INF], lambda _threat: 0.1, known_broken=told)
    for number, radius in enumerate((0.1, 0.2, 0.3)):
        expected = [distance <= radius for distance in (0.05, 0.15, INF, 0.25, INF, INF)]
        sounded, *chunks = told[4 * number : 4 * number + 4]
        assert [some for chunk in chunks for some in chunk] == expected
        assert sounded == expected


def test_where_no_alarm_rings_nothing_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    alarms, broken, asked = answering(monkeypatch, [INF] * 6, lambda threat: threat.radius, before=(QUIET,))
    assert alarms == [(QUIET,)] * 3
    assert asked == [("sound", INPUTS[:, 0].tolist())] * 3
    assert broken.broken_by == [{"attack": 0}] * 3


def test_the_images_that_alarms_see_are_spread_over_the_split_whatever_the_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of all that are answered rightly, one of all that stand: the wrong ones come first."""
    monkeypatch.setattr(retemper.evaluation.answering, "IMAGES", 1)
    distances, samples = [0.0, 0.0, 0.0, 0.05, 0.05, INF], []
    _, _, asked = answering(monkeypatch, distances, lambda _threat: 0.0, before=(QUIET,), samples=samples)
    assert asked == [("sound", INPUTS[[3, 5], 0].tolist())] * 3
    # Each sample is one of its own, and one image in six stands, whatever the samples hold.
    assert samples == [(INPUTS[[3], 0].tolist(), INPUTS[[5], 0].tolist(), 1 / 6)] * 3


def test_where_every_image_is_answered_wrongly_no_alarm_is_sounded(monkeypatch: pytest.MonkeyPatch) -> None:
    alarms, _, asked = answering(monkeypatch, [0.0] * 6, lambda _threat: 0.0)
    assert (alarms, asked) == ([()] * 3, [])


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["float64", "float64", "float64"], "float64"),
        (["float64", "", "float64"], ""),
        (["float64", "rescaled", "rescaled"], "float64"),
        (["", "", ""], ""),
    ],
)
def test_an_alarm_is_answered_if_it_is_on_every_chunk(
    monkeypatch: pytest.MonkeyPatch, answers: list[str], expected: str
) -> None:
    def after(chunk: int) -> tuple[Alarm, ...]:
        return replace(LOUD, answered_by=answers[chunk]), QUIET

    alarms, _, _ = answering(monkeypatch, [INF] * 6, lambda _threat: 0.0, after)
    assert alarms == [(replace(LOUD, answered_by=expected), QUIET)] * 3
    # A chunk on which nothing stood has no say.
    alarms, _, _ = answering(monkeypatch, [INF, INF, 0.0, 0.0, INF, INF], lambda _threat: 0.0, after)
    assert alarms[0][0].answered_by == (answers[0] if answers[2] else "")


def test_where_nothing_stands_alarms_stay_as_they_were_sounded(monkeypatch: pytest.MonkeyPatch) -> None:
    alarms, _, _ = answering(monkeypatch, [0.05] * 6, lambda _threat: 0.0)
    assert alarms == [(LOUD, QUIET)] * 3


def test_answers_are_kept_and_not_sought_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = answering(monkeypatch, [INF] * 6, lambda threat: threat.radius, folder=tmp_path)
    again = answering(monkeypatch, [INF] * 6, lambda _threat: 0.0, folder=tmp_path)
    assert again[2] == []
    assert again[0] == first[0]
    assert torch.equal(again[1].distances, first[1].distances)
    assert again[1].broken_by == first[1].broken_by


class Detached(nn.Module):
    """A network whose graph is cut."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs).detach()


def test_without_gradients_the_evaluation_goes_on_and_answers_or_raises(small: Any) -> None:
    model = Detached(small.model)
    attacks = plan(["pgd-ce"], steps=5)
    with pytest.raises(GradientError, match="Detached"):
        evaluate(model, small.split, [Linf(0.1)], attacks=attacks, alarms=False, progress=False)
    threats = [Linf(0.05), Linf(0.1)]
    found = evaluate(model, small.split, threats, attacks=attacks, batch_size=15, keep=30, progress=False)
    direct = evaluate(small.model, small.split, threats, attacks=attacks, alarms=False, progress=False)
    for ours, theirs in zip(found.robustness, direct.robustness, strict=True):
        (rang,) = [alarm for alarm in ours.alarms if alarm.name == "zero gradients"]
        assert rang.rings
        assert rang.answered_by
        assert set(ours.broken_by) <= {SMALLER, ANSWERED}
        assert sum(ours.broken_by.values()) + ours.standing.sum() == found.clean.sum()
        assert ours.standing.sum() <= theirs.standing.sum() < 26
        for example in ours.examples:
            assert int(small.model(example.adversarial[None]).argmax()) == example.predicted != example.label
            assert ours.threat.allows(example.adversarial[None], example.original[None]).all()


class Checkpointed(Detached):
    """A network whose graph is there, though torch does not go through it to the inputs."""

    def forward(self, inputs: Tensor) -> Tensor:
        return checkpoint(self.network, inputs, use_reentrant=True)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
def test_a_graph_that_cannot_be_gone_through_is_answered_like_one_that_is_cut(small: Any) -> None:
    model, attacks = Checkpointed(small.model), plan(["pgd-ce"], steps=5)
    with pytest.raises(GradientError, match="use_reentrant=False"):
        evaluate(model, small.split, [Linf(0.1)], attacks=attacks, alarms=False, progress=False)
    (found,) = evaluate(model, small.split, [Linf(0.1)], attacks=attacks, progress=False).robustness
    (rang,) = [alarm for alarm in found.alarms if alarm.name == "zero gradients"]
    assert rang.rings
    assert rang.answered_by
    assert set(found.broken_by) == {ANSWERED}


def test_the_same_radius_within_other_bounds_has_alarms_of_its_own(small: Any, tmp_path: Path) -> None:
    threats = [Linf(0.1, (-0.5, 1.5)), Linf(0.1)]
    attacks = plan(["fgsm"])
    kept = evaluate(small.model, small.split, threats, attacks=attacks, out=tmp_path, progress=False)
    plain = evaluate(small.model, small.split, threats, attacks=attacks, progress=False)
    assert plain.robustness[0].alarms != plain.robustness[1].alarms
    assert kept.as_json() == plain.as_json()


def test_the_verdict_does_not_hang_on_the_order_of_the_images(small: Any) -> None:
    """With the images that are answered wrongly first, in chunks that they fill, and last."""

    def sounded(places: Tensor) -> list[int]:
        split = Split(small.split.inputs[places], small.split.labels[places])
        found = evaluate(
            small.model, split, [Linf(0.05)], attacks=plan(["fgsm"], classes=5), batch_size=2, progress=False
        )
        return [len(found.robustness[0].alarms)]

    first = torch.arange(30)
    assert sounded(first) == sounded(first.flip(0)) == [12]
