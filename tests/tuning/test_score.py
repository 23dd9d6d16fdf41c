import numpy as np
import pytest
from torch import Tensor, nn

from retemper.data import Data
from retemper.errors import SettingError
from retemper.evaluation import evaluate, plan
from retemper.threats import L2, Linf
from retemper.training.budget import least_clean
from retemper.tuning import RobustScore, early_stopping
from retemper.tuning.score import ATTACKS, STEPS

THREATS = [Linf(0.1), L2(0.5)]


def test_it_is_the_mean_robust_accuracy_on_validation_images(trained: nn.Module, data: Data) -> None:
    found = evaluate(
        trained, data.validation.take(30), THREATS, attacks=plan(ATTACKS, steps=STEPS), alarms=False, progress=False
    )
    score = RobustScore(data, THREATS, images=30)
    assert score(trained) == pytest.approx(sum(each.accuracy for each in found.robustness) / 2)
    assert 0 < score(trained) < score.clean(trained)


def test_a_model_below_the_floor_ranks_below_all_others_and_by_its_clean_accuracy(
    trained: nn.Module, data: Data
) -> None:
    class Wrong(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = -trained(inputs)
            return outputs

    score = RobustScore(data, THREATS, floor=0.9, images=30)
    clean = score.clean(trained)
    assert clean > 0.9
    assert score(trained) >= 0
    assert score(Wrong()) == pytest.approx((1 - clean) - 1)
    assert RobustScore(data, THREATS, floor=1.0, images=30)(trained) == (
        pytest.approx(clean - 1) if clean < 1 else score(trained)
    )


def test_it_says_what_it_is(data: Data) -> None:
    score = RobustScore(data, THREATS, floor=0.95, images=30)
    assert repr(score) == "robust accuracy at linf:0.1, l2:0.5 on 30 images, clean 0.95 or more"
    assert "l2:0.5 in [-1.0, 1.0] on" in repr(RobustScore(data, [L2(0.5, (-1.0, 1.0))]))


def test_early_stopping_counts_from_the_model_as_it_is(trained: nn.Module, data: Data) -> None:
    stopping = early_stopping(trained, data, THREATS, give_up=0.02, patience=3)
    clean = RobustScore(data, THREATS).clean(trained)
    assert stopping.patience == 3
    assert stopping.of == repr(RobustScore(data, THREATS, floor=least_clean(clean, 0.02)))
    assert early_stopping(trained, data, THREATS, give_up=np.float64(0.02), patience=3).of == stopping.of
    assert stopping.score(trained) == RobustScore(data, THREATS)(trained)
    with pytest.raises(SettingError, match="`give_up` to be a share"):
        early_stopping(trained, data, THREATS, give_up=-0.1)


def test_it_needs_a_threat_and_images(data: Data) -> None:
    with pytest.raises(SettingError, match="at least one threat"):
        RobustScore(data, [])
    with pytest.raises(SettingError, match="`images` to be 1 or more"):
        RobustScore(data, THREATS, images=0)
