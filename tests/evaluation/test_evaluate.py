"""What an evaluation returns, how it takes the model and the settings, and what it leaves as it was."""

import contextlib
import copy
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retemper.data import Split
from retemper.errors import ModelError, SettingError
from retemper.evaluation import Evaluation, budget, evaluate, plan
from retemper.evaluation.reference import autoattack
from retemper.threats import L2, Linf, Threat

BOTH = ("apgd-ce", "apgd-dlr")


def run(model: nn.Module, split: Split, *threats: Threat, **settings: Any) -> Evaluation:
    return evaluate(model, split, threats, **({"alarms": False, "progress": False} | settings))


def test_kept_examples_are_adversarial_inside_the_threat_and_the_first_by_index(small_float32: Any) -> None:
    model, split = small_float32.model, small_float32.split
    threats = (Linf(0.05), Linf(0.2), L2(0.5))
    evaluation = run(model, split, *threats, attacks=plan(BOTH, steps=5), batch_size=16, keep=4)
    for found in evaluation.robustness:
        fallen = (evaluation.clean & ~found.standing).nonzero()[0].tolist()
        assert [example.index for example in found.examples] == fallen[:4]
        assert len(found.examples) > 0
        for example in found.examples:
            assert torch.equal(example.original, split.inputs[example.index])
            assert example.label == int(split.labels[example.index])
            answer = int(model(example.adversarial[None]).argmax())
            assert answer == example.predicted != example.label
            assert found.threat.allows(example.adversarial[None], example.original[None]).all()
    nothing = run(model, split, threats[0], attacks=plan(BOTH, steps=1))
    assert nothing.robustness[0].examples == ()


def test_the_same_seed_gives_the_same_evaluation_and_leaves_the_global_one_alone(small_float32: Any) -> None:
    model, split = small_float32.model, small_float32.split
    state = torch.get_rng_state()
    runs = [run(model, split, Linf(0.1), attacks=plan(["pgd-ce"], steps=1), keep=60, seed=seed) for seed in (1, 1, 2)]
    kept = [[example.adversarial for example in run.robustness[0].examples] for run in runs]
    torch.testing.assert_close(kept[0], kept[1], rtol=0, atol=0)
    assert any(not torch.equal(*pair) for pair in zip(kept[0], kept[2], strict=False))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())


def test_a_model_in_float64_is_evaluated_in_float64(small: Any) -> None:
    split = Split(small.split.inputs.float(), small.split.labels)
    evaluation = run(small.model, split, Linf(0.5), attacks=plan(BOTH, steps=3), keep=1)
    assert [example.adversarial.dtype for example in evaluation.robustness[0].examples] == [torch.float64]
    answers = small.model(split.inputs.double()).argmax(1)
    assert evaluation.clean_accuracy == float((answers == split.labels).double().mean())


def test_numbers_of_numpys_make_the_same_evaluation(small_float32: Any, tmp_path: Path) -> None:
    model, split = small_float32.model, small_float32.split
    found = [
        run(model, split, Linf(0.1), attacks=plan(["pgd-ce"], steps=1), out=tmp_path, batch_size=size, seed=seed)
        for size, seed in ((np.int64(16), np.int32(2)), (16, 2))
    ]
    assert json.dumps(found[0].as_json()) == json.dumps(found[1].as_json())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"attacks": ["apgd-ce"]}, "`attacks` to be of Attack, but got str; `retemper.evaluation.plan` makes"),
        ({"keep": -1}, "`keep` to be 0 or more, but got -1"),
    ],
)
def test_what_cannot_be_is_named(small_float32: Any, setting: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        run(small_float32.model, small_float32.split, Linf(0.1), **({"attacks": plan(BOTH, steps=1)} | setting))


def test_everything_found_goes_into_json(small_float32: Any) -> None:
    split = Split(*small_float32.split.batch(slice(8, 20)))
    evaluation = run(small_float32.model, split, Linf(0.2), L2(0.1), attacks=plan(BOTH, steps=2))
    read = json.loads(json.dumps(evaluation.as_json(), allow_nan=False))
    assert read["clean"]["standing"] == "001111111111"
    assert read["clean"]["accuracy"] == 10 / 12
    assert read["attacks"] == list(evaluation.attacks)
    assert (read["seed"], read["draws"]) == (0, 1)
    assert [(curve["norm"], curve["reach"], curve["closest"]) for curve in read["curves"]] == [
        ("l2", 0.1, False),
        ("linf", 0.2, False),
    ]
    assert [entry["threat"] for entry in read["robustness"]] == ["linf:0.2", "l2:0.1"]
    for entry, found in zip(read["robustness"], evaluation.robustness, strict=True):
        assert [bit == "1" for bit in entry["standing"]] == found.standing.tolist()
        assert (entry["accuracy"], entry["broken_by"]) == (found.accuracy, found.broken_by)
        assert entry["interval"] == list(found.interval)


def test_by_default_the_standard_budget_runs_also_with_two_classes() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    evaluation = run(model, Split(torch.rand(4, 1, 3, 3), torch.tensor([0, 1, 0, 1])), Linf(0.01))
    assert evaluation.attacks == tuple(str(attack) for attack in budget("standard", classes=2))


def test_one_image_is_enough(small_float32: Any) -> None:
    split = Split(*small_float32.split.batch(slice(10, 11)))
    evaluation = run(small_float32.model, split, Linf(1.0), attacks=plan(BOTH, steps=5))
    assert evaluation.robustness[0].standing.shape == (1,)


def test_progress_counts_every_image_once_for_each_attack_and_threat(
    small_float32: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals, steps = [], []

    @contextlib.contextmanager
    def counted(label: str, total: int, done: int, *, shown: bool) -> Any:
        totals.append(total)
        yield steps.append

    monkeypatch.setattr(importlib.import_module("retemper.evaluation.evaluate"), "progress_line", counted)
    threats = (Linf(0.1), Linf(0.1), L2(0.3))
    attacks = plan(["fgsm", "pgd-ce"], steps=2)
    run(small_float32.model, small_float32.split, *threats, attacks=attacks, batch_size=7, progress=True)
    assert totals == [sum(steps)] == [2 * 2 * 60]


class Counted(nn.Module):
    """Makes a weight out of another: itself, or with noise; counts how often."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.noise = noise
        self.made: list[int] = []

    def forward(self, weight: Tensor) -> Tensor:
        self.made.append(1)
        return weight + self.noise * torch.randn_like(weight)


def test_weights_made_of_others_are_made_once_unless_they_are_drawn(small_float32: Any) -> None:
    split = Split(*small_float32.split.batch(slice(9, 17)))
    attacks = plan(["apgd-ce"], steps=20)
    expected = run(small_float32.model, split, Linf(0.05), attacks=attacks)
    made, drawn = Counted(), Counted(noise=0.5)
    for counted in (made, drawn):
        model = copy.deepcopy(small_float32.model)
        torch.nn.utils.parametrize.register_parametrization(model[1], "weight", counted)
        counted.made.clear()
        found = run(model, split, Linf(0.05), attacks=attacks)
        assert (found.draws > 1) == (counted is drawn)
        if counted is made:
            assert found.robustness[0].standing.tolist() == expected.robustness[0].standing.tolist()
    assert len(made.made) < 10  # the copy, and what looks whether answers are random
    assert len(drawn.made) > 20


class Above(nn.Module):
    """Class 1 where the inputs' mean lies above one half, in some floats; its gradients are zero if it rounds."""

    def __init__(self, dtype: torch.dtype = torch.float32, *, rounds: bool = False) -> None:
        super().__init__()
        self.dtype, self.rounds, self.scale = dtype, rounds, nn.Parameter(torch.tensor(8.0))

    def forward(self, inputs: Tensor) -> Tensor:
        values = (inputs * 64).round() / 64 if self.rounds else inputs
        score = (self.scale * (values.flatten(1).mean(1) - 0.5)).to(self.dtype)
        return torch.stack([-score, score], 1)


def above(model: nn.Module) -> Split:
    inputs = torch.rand(60, 6, generator=torch.Generator().manual_seed(1))
    return Split(inputs, model(inputs).argmax(1))


def test_under_inference_mode_it_finds_the_same() -> None:
    model = Above(rounds=True).eval()
    split = above(model)
    expected = evaluate(model, split, [Linf(0.1)], attacks="quick", progress=False)
    with torch.inference_mode():
        made_inside = Split(split.inputs.clone(), split.labels.clone())
        inside = evaluate(model, split, [Linf(0.1)], attacks="quick", progress=False)
    after = evaluate(model, made_inside, [Linf(0.1)], attacks="quick", progress=False)
    assert expected.robustness[0].broken_by["answers to alarms"] > 0
    for found in (inside, after):
        assert (found.robustness[0].standing == expected.robustness[0].standing).all()
        assert found.robustness[0].ringing == expected.robustness[0].ringing


class Overwriting(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.sub_(0.5) if not inputs.requires_grad else inputs - 0.5)


def test_a_model_that_writes_into_its_inputs_leaves_the_images_alone() -> None:
    inputs = torch.rand(20, 6, generator=torch.Generator().manual_seed(1))
    split = Split(inputs.clone(), torch.arange(20) % 2)
    with contextlib.suppress(ModelError, SettingError):
        evaluate(Overwriting(6, 2), split, [Linf(0.1)], attacks="quick", progress=False)
    assert torch.equal(split.inputs, inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_logits_may_be_of_another_type_than_inputs(dtype: torch.dtype) -> None:
    model = Above(dtype).eval()
    split = above(model)
    found = evaluate(model, split, [Linf(0.1)], attacks=plan(("pgd-ce", "apgd-ce", "square"), steps=5), progress=False)
    assert found.robustness[0].accuracy < 1


def test_a_model_that_views_is_evaluated_on_images_of_any_size(viewing: nn.Module) -> None:
    inputs = torch.rand(6, 1, 16, 16)
    split = Split(inputs, viewing(inputs).argmax(1))
    found = evaluate(viewing, split, Linf(0.05), attacks=plan(["pgd-ce"], steps=5), progress=False)
    assert found.clean_accuracy == 1
    assert found.at(Linf(0.05)).accuracy < 1
    reference = autoattack(viewing, split, Linf(0.05))
    assert not (reference.standing & ~found.at(Linf(0.05)).standing).any(), "AutoAttack breaks what five steps break"


def test_float32_is_float32_whatever_pytorch_was_told() -> None:
    torch.manual_seed(0)
    model, seen = nn.Linear(4, 3), set()
    split = Split(torch.rand(5, 4), torch.zeros(5, dtype=torch.int64))
    model.register_forward_hook(lambda *_: seen.add(torch.get_float32_matmul_precision()))
    torch.set_float32_matmul_precision("medium")
    try:
        evaluate(model, split, Linf(0.1), attacks=plan(["pgd-ce"], steps=2), alarms=False, progress=False)
        autoattack(model, split, Linf(0.1))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == {"highest"}


def test_a_device_without_float64_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("retemper.evaluation.evaluate")
    monkeypatch.setattr(module, "device_of", lambda _model: torch.device("mps"))
    with pytest.raises(ModelError, match=r"float64.*Apple's MPS; move it with model\.to\(\"cpu\"\)"):
        evaluate(nn.Linear(4, 3), Split(torch.rand(5, 4), torch.zeros(5, dtype=torch.int64)), Linf(0.1))


def test_large_images_meet_the_weights_in_their_layout() -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 4, 3)
    model = nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    seen: list[bool] = []
    wide = {"memory_format": torch.channels_last}
    first.register_forward_pre_hook(
        lambda layer, given: seen.append(given[0].is_contiguous(**wide)) if layer.weight.is_contiguous(**wide) else None
    )
    split = Split(torch.rand(6, 3, 16, 16), torch.tensor([0, 1] * 3))
    evaluate(model, split, Linf(0.1), attacks=plan(["fgsm"]), alarms=False, progress=False)
    assert len(seen) > 1
    assert all(seen)
