import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from retemper.objectives import Differential, differential

finite = st.floats(-50, 50, width=32)


def value(logits: Tensor, labels: Tensor) -> float:
    """The term on these logits."""
    return Differential()(nn.Identity(), logits, labels).item()


def logistic(difference: float) -> float:
    return max(-difference, 0) + math.log1p(math.exp(-abs(difference)))


def paper(scores: list[float], labels: list[int]) -> float:
    """The double sum of Nar et al., divided by the number of pairs."""
    ones = [score for score, label in zip(scores, labels, strict=True) if label == 1]
    zeros = [score for score, label in zip(scores, labels, strict=True) if label == 0]
    return sum(logistic(one - zero) for one in ones for zero in zeros) / (len(ones) * len(zeros))


def pairs(logits: list[list[float]], labels: list[int]) -> float:
    """Every unordered pair of images of different classes a and b, by z_a - z_b."""
    losses = []
    for i in range(len(labels)):
        for j in range(i):
            a, b = labels[i], labels[j]
            if a != b:
                losses.append(logistic((logits[i][a] - logits[i][b]) - (logits[j][a] - logits[j][b])))
    return sum(losses) / len(losses)


batches = st.integers(2, 5).flatmap(
    lambda classes: st.lists(
        st.tuples(st.lists(finite, min_size=classes, max_size=classes), st.integers(0, classes - 1)),
        min_size=2,
        max_size=8,
    )
)


def test_with_two_classes_it_is_the_papers_double_sum(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(2), batch(2)
    logits = model(inputs)
    expected = paper((logits[:, 1] - logits[:, 0]).tolist(), labels.tolist())
    assert Differential()(model, inputs, labels).item() == pytest.approx(expected, rel=1e-12)


def test_a_single_score_is_the_papers_double_sum_too(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(1), batch(2)
    expected = paper(model(inputs)[:, 0].tolist(), labels.tolist())
    assert Differential()(model, inputs, labels).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("classes", [3, 6])
def test_with_more_classes_each_pair_has_its_own_score(
    classes: int, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(classes), batch(classes)
    expected = pairs(model(inputs).tolist(), labels.tolist())
    assert Differential()(model, inputs, labels).item() == pytest.approx(expected, rel=1e-12)


@given(batches)
@settings(deadline=None)
def test_any_batch_agrees_with_a_plain_loop(rows: list[tuple[list[float], int]]) -> None:
    logits, labels = [row for row, _ in rows], [label for _, label in rows]
    found = value(torch.tensor(logits, dtype=torch.float64), torch.tensor(labels))
    if len(set(labels)) == 1:
        assert found == 0
    else:
        assert found == pytest.approx(pairs(logits, labels), rel=1e-9, abs=1e-12)


@given(batches, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_images_does_not_matter(rows: list[tuple[list[float], int]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    one, other = (
        value(torch.tensor([row for row, _ in some], dtype=torch.float64), torch.tensor([label for _, label in some]))
        for some in (rows, shuffled)
    )
    assert one == pytest.approx(other, rel=1e-9, abs=1e-12)


@given(batches, st.lists(finite, min_size=5, max_size=5))
@settings(deadline=None)
def test_biases_cancel(rows: list[tuple[list[float], int]], biases: list[float]) -> None:
    logits = torch.tensor([row for row, _ in rows], dtype=torch.float64)
    labels = torch.tensor([label for _, label in rows])
    shifted = logits + torch.tensor(biases[: logits.shape[1]], dtype=torch.float64)
    assert value(shifted, labels) == pytest.approx(value(logits, labels), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_the_last_bias_gets_no_gradient_and_the_weights_do(
    classes: int, network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model = network(classes)
    Differential()(model, *batch(max(classes, 2))).backward()
    assert model[-1].bias.grad.abs().max() < 1e-15
    assert model[-1].weight.grad.abs().max() > 1e-3


def test_a_batch_of_one_class_has_no_loss_and_no_gradient(
    network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, _) = network(3), batch(3)
    loss = Differential()(model, inputs, torch.full((7,), 2))
    loss.backward()
    assert loss.item() == 0
    assert all((parameter.grad == 0).all() for parameter in model.parameters())


def test_huge_differences_of_scores_do_not_overflow() -> None:
    logits = torch.tensor([[1e30, -1e30], [-1e30, 1e30]], requires_grad=True)
    right = Differential()(nn.Sequential(), logits, torch.tensor([0, 1]))
    assert right.item() == 0
    wrong = Differential()(nn.Sequential(), logits, torch.tensor([1, 0]))
    assert wrong.item() == pytest.approx(4e30)
    (gradient,) = torch.autograd.grad(wrong, logits)
    assert gradient.isfinite().all()


def test_equal_scores_cost_log_2() -> None:
    assert value(torch.zeros(6, 3), torch.arange(6) % 3) == pytest.approx(math.log(2))


def test_the_size_of_the_batch_does_not_scale_the_loss() -> None:
    logits, labels = torch.randn(8, 3, dtype=torch.float64), torch.arange(8) % 3
    assert value(logits.repeat(3, 1), labels.repeat(3)) == pytest.approx(value(logits, labels), rel=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_large_batch_is_summed_by_pairs_of_classes_to_the_same_value_and_gradient(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(classes)
    logits = (3 * torch.randn(1000, classes, generator=generator, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(classes, (1000,), generator=generator)
    found = []
    for images_per_call, way in ((0, "_by_images"), (10**12, "_by_classes")):
        monkeypatch.setattr(differential, "PAIRS_OF_IMAGES_PER_CALL", images_per_call)
        with monkeypatch.context() as patch:
            patch.delattr(differential, way)  # it must not be the way that is taken
            loss = Differential()(nn.Identity(), logits, labels)
        found.append((loss.item(), torch.autograd.grad(loss, logits)[0]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-8)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-7, atol=1e-14)


@given(batches)
@settings(deadline=None)
def test_by_pairs_of_classes_any_batch_agrees_with_a_plain_loop(rows: list[tuple[list[float], int]]) -> None:
    logits, labels = [row for row, _ in rows], [label for _, label in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(differential, "PAIRS_OF_IMAGES_PER_CALL", 0)
        found = value(torch.tensor(logits, dtype=torch.float64), torch.tensor(labels))
    expected = 0 if len(set(labels)) == 1 else pairs(logits, labels)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_large_batch_of_one_class_has_no_loss_and_no_gradient() -> None:
    logits = torch.randn(500, 2, requires_grad=True)
    loss = Differential()(nn.Identity(), logits, torch.ones(500, dtype=torch.long))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert (gradient == 0).all()


def test_pairs_too_many_to_look_at_have_the_value_of_equally_spread_copies_of_few() -> None:
    logits = torch.randn(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(300) % 2
    many = value(logits.repeat(200, 1), labels.repeat(200))  # as a table of pairs, 29 GB
    scores = (logits[:, 1] - logits[:, 0]).tolist()
    assert many == pytest.approx(paper(scores, labels.tolist()), rel=1e-8)


def test_on_an_accelerator_it_looks_at_pairs_of_images_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for way in ("_by_images", "_by_classes"):
        monkeypatch.setattr(differential, way, lambda logits, _labels, way=way: asked.append(way) or logits.sum())
    for device in ("cpu", "meta"):
        Differential()(nn.Identity(), torch.zeros(2000, 3, device=device), torch.zeros(2000, dtype=int, device=device))
    assert asked == ["_by_classes", "_by_images"]
