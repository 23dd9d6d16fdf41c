import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from retemper.data import Split
from retemper.errors import ModelError
from retemper.evaluation.bundle import Bundle
from retemper.evaluation.claim import Claim
from retemper.evaluation.intervals import wilson
from retemper.evaluation.verification import verify
from retemper.threats import L2, Linf, Threat

IMAGES = 400
DATA = {"name": "line", "split": "test", "fingerprint": "f00"}


class Sign(nn.Module):
    """Class 1 where the first coordinate lies above one half; no answer outside [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs: Tensor) -> Tensor:
        score = self.scale * (inputs.flatten(1)[:, 0] - 0.5)
        score = torch.where((inputs.flatten(1) < 0).any(1), float("nan"), score)
        return torch.stack([-score, score], 1)


def refutation(threat: Threat | None = None, claimed: float = 0.6) -> tuple[Bundle, nn.Module, Split]:
    """Half of the images are broken by a step of 0.1 across the border; one image is answered wrongly as it is."""
    threat = threat or Linf(0.1)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(IMAGES, 2, 3, generator=generator)
    inputs[:, 0, 0] = torch.where(torch.arange(IMAGES) % 2 == 0, 0.45, 0.8)
    labels = (inputs[:, 0, 0] > 0.5).long()
    labels[1] = 0
    points = inputs.clone()
    points[::2, 0, 0] += 0.09
    standing = torch.arange(IMAGES) % 2 == 1
    standing[1] = False
    model, split = Sign(), Split(inputs, labels)
    bundle = Bundle.of(model, split, points, standing, Claim(claimed, threat), classes=2, data=DATA, attacks=(), seed=0)
    assert len(bundle.indices) == 201
    return bundle, model, split


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.1)])
@pytest.mark.parametrize("given_data", [True, False])
def test_a_true_refutation_stands(threat: Threat, given_data: bool) -> None:
    bundle, model, split = refutation(threat)
    found = verify(bundle, model, split if given_data else None)
    assert found.stands
    assert (found.listed, found.inside, found.wrong) == (201, 201, 201)
    assert verify(bundle, model, bounds=[0, 1]).stands  # type: ignore[arg-type]
    assert found.accuracy == 199 / 400
    assert found.interval == wilson(199, 400)
    assert (found.same_weights, found.well_formed, found.same_data) == (True, True, True if given_data else None)
    assert json.loads(json.dumps(found.as_json()))["stands"]


def test_what_was_broken_too_rarely_refutes_nothing() -> None:
    bundle, model, split = refutation(claimed=0.52)
    found = verify(bundle, model, split)
    assert found.wrong == 201
    assert not found.stands, "the interval reaches above the claim"


def changed(bundle: Bundle, name: str, value: object, place: int | slice = slice(None)) -> Bundle:
    tensor = getattr(bundle, name).clone()
    tensor[place] = value
    return replace(bundle, **{name: tensor})


def test_other_weights_do_not_stand() -> None:
    bundle, model, split = refutation()
    model.scale.data *= 2
    found = verify(bundle, model, split)
    assert found.wrong == 201, "the answers are the same"
    assert not found.same_weights
    assert not found.stands


def test_inputs_outside_the_threat_do_not_count() -> None:
    bundle, model, split = refutation()
    one = verify(changed(bundle, "adversarial", 0.75, place=0), model, split)
    assert (one.inside, one.wrong, one.stands) == (200, 200, True)
    # Outside, the model returns NaN, and is not asked.
    none = verify(changed(bundle, "adversarial", -0.5), model, split)
    assert (none.inside, none.wrong, none.stands) == (0, 0, False)
    assert verify(changed(bundle, "adversarial", float("nan")), model, split).inside == 0


def test_the_threat_is_that_of_the_claim() -> None:
    bundle, model, split = refutation()
    smaller = verify(replace(bundle, claim=Claim(0.6, Linf(0.08))), model, split)
    assert (smaller.inside, smaller.wrong, smaller.stands) == (1, 1, False)


def test_inputs_that_are_answered_rightly_do_not_count() -> None:
    bundle, model, split = refutation()
    found = verify(replace(bundle, adversarial=bundle.originals), model, split)
    assert (found.inside, found.wrong, found.stands) == (201, 1, False)


def test_other_labels_or_originals_are_not_those_of_the_data() -> None:
    bundle, model, split = refutation()
    labels = changed(bundle, "labels", 1 - bundle.labels)
    assert not verify(labels, model, split).same_data
    shifted = replace(bundle, originals=bundle.originals * 0.999, adversarial=bundle.adversarial * 0.999)
    found = verify(shifted, model, split)
    assert found.wrong == 201
    assert not found.same_data
    assert not found.stands
    assert verify(shifted, model).stands, "without the data nobody can tell"


def test_labels_that_are_no_class_do_not_stand() -> None:
    bundle, model, _ = refutation()
    for label in (-1, 2):
        found = verify(changed(bundle, "labels", label, place=0), model)
        assert not found.well_formed
        assert not found.stands
    assert not verify(replace(bundle, classes=10), model).stands


@pytest.mark.parametrize("index", [0, IMAGES, -1])
def test_an_image_is_listed_once_and_is_one_of_those_evaluated(index: int) -> None:
    bundle, model, split = refutation()
    found = verify(changed(bundle, "indices", index, place=3), model, split)
    assert not found.well_formed
    assert found.same_data is False
    assert not found.stands


def test_more_images_than_the_data_has_are_not_those_of_the_data() -> None:
    bundle, model, split = refutation()
    assert not verify(bundle, model, split.take(IMAGES - 1)).same_data
    larger = Split(split.inputs.repeat(2, 1, 1), split.labels.repeat(2))
    assert verify(bundle, model, larger).stands, "the first images were evaluated"


def test_fewer_images_cannot_have_been_evaluated_than_are_listed() -> None:
    bundle, model, _ = refutation()
    assert not verify(replace(bundle, images=300), model).stands


def test_a_model_for_other_inputs_is_named() -> None:
    bundle, *_ = refutation()
    with pytest.raises(ModelError, match=r"shape \(201, 2, 3\)"):
        verify(bundle, nn.Linear(5, 2))


class Noisy(nn.Module):
    """Wrong in about a third of its answers, whatever the input."""

    def forward(self, inputs: Tensor) -> Tensor:
        score = torch.rand(len(inputs)) - 1 / 3
        return torch.stack([-score, score], 1)


@pytest.mark.parametrize("label", [0, 1])
def test_a_randomised_model_answers_by_its_majority(label: int) -> None:
    inputs = torch.rand(300, 2)
    split, model = Split(inputs, torch.full((300,), label)), Noisy()
    bundle = Bundle.of(
        model, split, inputs, torch.zeros(300, dtype=torch.bool), Claim(0.6, Linf(0.1)), classes=2, data=DATA,
        attacks=(), seed=0, draws=25,
    )  # fmt: skip
    state = torch.get_rng_state()
    found = verify(bundle, model, split)
    assert torch.equal(torch.get_rng_state(), state)
    # Of a single draw it would be a third or two thirds; how many draws there are is not for the bundle to say.
    assert found.wrong > 270 if label == 0 else found.wrong < 30
    assert verify(replace(bundle, draws=1), model, split).wrong == found.wrong


def test_wider_bounds_than_the_verifiers_prove_nothing() -> None:
    bundle, model, split = refutation(Linf(0.1, (-5.0, 5.0)))
    found = verify(bundle, model, split)
    assert (found.same_bounds, found.stands, found.wrong) == (False, False, 201)
    assert verify(bundle, model, split, bounds=(-5.0, 5.0)).stands


def test_a_claim_of_all_is_not_refuted_by_inputs_that_are_answered_rightly() -> None:
    bundle, model, split = refutation(claimed=1.0)
    unmoved = replace(bundle, adversarial=bundle.originals.clone(), labels=(bundle.originals[:, 0, 0] > 0.5).long())
    found = verify(unmoved, model)
    assert (found.wrong, found.stands) == (0, False)
    assert verify(bundle, model, split).stands


def test_float32_is_float32_whatever_pytorch_was_told() -> None:
    bundle, model, split = refutation()
    seen = set()
    model.register_forward_hook(lambda *_: seen.add(torch.get_float32_matmul_precision()))
    torch.set_float32_matmul_precision("medium")
    try:
        verify(bundle, model, split)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == {"highest"}
