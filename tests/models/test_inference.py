from collections import OrderedDict, namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retemper.errors import LayerError, ModelError
from retemper.models import accuracy, evaluation_mode, logits, predict
from retemper.models.inference import check_finite, device_of

INPUTS = torch.rand(4, 3)
EXPECTED = torch.arange(20.0).view(4, 5)
Pair = namedtuple("Pair", ["hidden", "logits"])


class Returns(nn.Module):
    def __init__(self, answer: Callable[[], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, inputs: Tensor) -> Any:
        return self.answer()


def test_whatever_a_users_forward_raises_names_the_model() -> None:
    class Looks(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return {}["nothing"]

    with pytest.raises(ModelError, match=r"Looks failed on inputs of shape \(2, 3\).*KeyError: 'nothing'"):
        logits(Looks(), torch.zeros(2, 3))


@pytest.mark.parametrize(
    "answer",
    [
        lambda: EXPECTED,
        lambda: (EXPECTED, "hidden"),
        lambda: [EXPECTED, None],
        lambda: {"hidden": 0, "logits": EXPECTED},
        lambda: OrderedDict(loss=None, logits=EXPECTED),
        lambda: SimpleNamespace(logits=EXPECTED),
        lambda: Pair("hidden", EXPECTED),
    ],
)
def test_logits_are_found_in_every_kind_of_output(answer: Callable[[], Any]) -> None:
    assert torch.equal(logits(Returns(answer), INPUTS), EXPECTED)


@pytest.mark.parametrize("shape", [(4, 1), (4,)])
def test_a_single_output_is_the_score_of_class_one(shape: tuple[int, ...]) -> None:
    score = torch.tensor([-1.0, 0.5, 2.0, -3.0])
    outputs = logits(Returns(lambda: score.view(shape)), INPUTS)
    assert torch.equal(outputs, torch.stack([torch.zeros(4), score], 1))
    torch.testing.assert_close(outputs.softmax(1)[:, 1], torch.sigmoid(score))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: None, "NoneType"),
        (lambda: {"scores": EXPECTED}, "dict"),
        (lambda: (), "tuple"),
        (lambda: ("no", EXPECTED), "tuple"),
        (lambda: EXPECTED[:3], r"\(3, 5\)"),
        (lambda: EXPECTED.view(4, 5, 1), r"\(4, 5, 1\)"),
        (lambda: torch.tensor(1.0), r"\(\)"),
        (lambda: EXPECTED.argmax(1), "int64"),
    ],
)
def test_what_is_no_logits_is_refused_by_name(answer: Callable[[], Any], words: str) -> None:
    with pytest.raises(ModelError, match=f"Returns.*{words}"):
        logits(Returns(answer), INPUTS)


@pytest.mark.parametrize("error", [RuntimeError, TypeError, ValueError, IndexError, AssertionError])
def test_a_model_that_cannot_run_is_named_with_the_shape(error: type[Exception]) -> None:
    def fail() -> None:
        raise error("wrong size")

    with pytest.raises(ModelError, match=r"Returns.*\(4, 3\).*wrong size") as raised:
        logits(Returns(fail), INPUTS)
    assert isinstance(raised.value.__cause__, error)


def test_an_error_of_ours_passes_as_it_is() -> None:
    def fail() -> None:
        raise LayerError("a layer returns no tensor")

    with pytest.raises(LayerError, match=r"^a layer returns no tensor$"):
        logits(Returns(fail), INPUTS)


def test_a_full_memory_is_no_fault_of_the_model() -> None:
    def fail() -> None:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        logits(Returns(fail), INPUTS)


def test_real_shape_errors_become_model_errors() -> None:
    with pytest.raises(ModelError, match="Linear"):
        logits(nn.Linear(5, 2), INPUTS)
    with pytest.raises(ModelError, match="BatchNorm2d"):
        logits(nn.BatchNorm2d(3), INPUTS)


class Frozen(nn.BatchNorm1d):
    """Stays in evaluation mode whatever its parent is told, as frozen batch normalisation does."""

    def train(self, mode: bool = True) -> "Frozen":
        return super().train(False)


@pytest.mark.parametrize("fails", [False, True])
def test_every_module_gets_its_own_mode_back(fails: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Dropout(), nn.Dropout()), Frozen(3), nn.Linear(3, 2))
    model.train()
    model[1].eval()
    model[1][1].train()
    before = [module.training for module in model.modules()]
    assert sorted(set(before)) == [False, True]
    try:
        with evaluation_mode(model):
            assert not any(module.training for module in model.modules())
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert [module.training for module in model.modules()] == before


def test_predict_joins_the_batches_without_gradients_or_dropout() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.Dropout(0.9), nn.Linear(6, 2)).train()
    inputs, labels = torch.rand(7, 3), torch.arange(7)
    outputs, found = predict(model, zip(inputs.split(3), labels.split(3), strict=True))
    assert not outputs.requires_grad
    assert torch.equal(found, labels)
    torch.testing.assert_close(outputs, model.eval()(inputs).detach())


def test_the_device_is_that_of_the_first_parameter_or_buffer() -> None:
    assert device_of(nn.Linear(2, 2, device="meta")).type == "meta"
    assert device_of(nn.BatchNorm1d(2, affine=False, device="meta")).type == "meta"
    assert device_of(nn.Flatten()).type == "cpu"


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_the_broken_parameter_is_named(value: float) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()
    with torch.no_grad():
        model[2].weight[0, 1] = value
    with pytest.raises(ModelError, match=r"Sequential.*4 of 4.*'2\.weight'"):
        predict(model, [(INPUTS, torch.zeros(4))])


def test_overflow_with_finite_weights_is_told_apart() -> None:
    outputs = torch.tensor([[1.0, 2.0], [torch.inf, 0.0]])
    with pytest.raises(ModelError, match=r"1 of 2.*its weights are finite"):
        check_finite(nn.BatchNorm1d(3), outputs)
    check_finite(nn.BatchNorm1d(3), outputs[:1])


def test_accuracy_is_the_share_of_all_images_whatever_the_batches() -> None:
    model = nn.Identity()
    inputs, labels = torch.eye(3), torch.tensor([0, 1, 0])
    assert accuracy(model, [(inputs, labels)]) == pytest.approx(2 / 3)
    assert accuracy(model, [(inputs[:1], labels[:1]), (inputs[1:], labels[1:])]) == pytest.approx(2 / 3)


class Spoiling(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        inputs -= 0.3
        return inputs


def test_a_model_that_writes_into_its_inputs_spoils_no_data() -> None:
    inputs = INPUTS.clone()
    first, _ = predict(Spoiling(), [(inputs, torch.zeros(4))])
    again, _ = predict(Spoiling(), [(inputs, torch.zeros(4))])
    assert torch.equal(inputs, INPUTS)
    assert torch.equal(first, again)
