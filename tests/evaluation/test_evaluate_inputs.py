"""What cannot be evaluated is refused by name before any attack begins."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from retemper.data import Split
from retemper.errors import ModelError, SettingError
from retemper.evaluation import evaluate, plan
from retemper.threats import Linf

SPLIT = Split(torch.rand(5, 1, 3, 3), torch.tensor([0, 1, 2, 3, 0]))


def network(classes: int = 4, features: int = 9) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(features, classes))


def broken(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        model[1].weight[0, 0] = torch.nan
    return model


@pytest.mark.parametrize(
    ("model", "split", "words"),
    [
        (network().half(), SPLIT, "half precision"),
        (network().bfloat16(), SPLIT, "half precision"),
        (broken(network()), SPLIT, "1.weight"),
        (network(classes=3), SPLIT, "3 logits.* 0 to 3"),
        (network(), Split(SPLIT.inputs, SPLIT.labels - 1), "-1 to 2"),
        (network(features=10), SPLIT, r"\(1, 1, 3, 3\)"),
    ],
    ids=["half", "bfloat16", "NaN", "classes", "negative", "shape"],
)
def test_models_that_cannot_be_evaluated_are_refused_by_name(model: nn.Module, split: Split, words: str) -> None:
    with pytest.raises(ModelError, match=words) as error:
        evaluate(model, split, [Linf(0.1)], alarms=False, progress=False)
    assert "Sequential" in str(error.value)


def test_normalised_inputs_are_refused_with_what_to_do() -> None:
    split = Split(4 * torch.rand(5, 1, 3, 3) - 2, torch.zeros(5, dtype=torch.int64))
    with pytest.raises(SettingError, match=r"normalis.*model"):
        evaluate(network(), split, [Linf(0.1)], alarms=False, progress=False)
    attacks = plan(["fgsm"])
    evaluate(network(), split, [Linf(0.1, (-2.0, 2.0))], attacks=attacks, alarms=False, progress=False)


@pytest.mark.parametrize(
    ("model", "split", "words"),
    [
        (network(), [SPLIT.inputs, SPLIT.labels], "`split` to be of Split, but got list; take one of the data"),
        (nn.Flatten, SPLIT, "`model` to be of Module, but got the class Flatten"),
    ],
)
def test_what_is_no_model_or_split_is_refused_by_name(model: Any, split: Any, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        evaluate(model, split, Linf(0.1), progress=False)


def test_one_threat_may_come_alone() -> None:
    settings = {"attacks": plan(["pgd-ce"], steps=3), "alarms": False, "progress": False}
    alone, several = (evaluate(network(), SPLIT, threats, **settings) for threats in (Linf(0.1), [Linf(0.1)]))
    assert len(alone.robustness) == len(several.robustness) == 1


def test_bounds_without_an_end_go_with_no_alarms_and_no_folder(tmp_path: Path) -> None:
    split = Split(4 * SPLIT.inputs - 2, SPLIT.labels)
    endless = {"threats": [Linf(0.1, (-math.inf, math.inf))], "attacks": plan(["pgd-ce"], steps=3), "progress": False}
    found = evaluate(network(), split, alarms=False, **endless)
    assert found.robustness[0].accuracy <= found.clean.mean()
    for others in ({}, {"alarms": False, "out": tmp_path / "run"}):
        with pytest.raises(SettingError, match=r"finite bounds.*\(-inf, inf\)"):
            evaluate(network(), split, **endless, **others)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threats": []}, "threat"),
        ({"attacks": []}, "attack"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "`seed`"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        evaluate(network(), SPLIT, **({"threats": [Linf(0.1)], "progress": False} | change))
