import json

import pytest
from torch import nn

from retemper.errors import SettingError
from retemper.objectives import (
    ActivationEntropy,
    CrossEntropy,
    Curvature,
    Differential,
    InputGradient,
    Jacobian,
    Mimic,
    Objective,
    OneOf,
    PGDTraining,
    WarmUp,
    as_spec,
    differential_training,
    entropic_retraining,
    from_spec,
)
from retemper.threats import Linf


@pytest.mark.parametrize(
    "objective",
    [
        CrossEntropy() + 0.05 * ActivationEntropy("conv*_act", measure="unit"),
        Differential() + 0.01 * InputGradient(of="loss", norm="l1", squared=False),
        entropic_retraining(layers=["conv1_act", "dense1_act"]),
        differential_training(0),
        CrossEntropy() + 0.1 * InputGradient("loss", "l1", step=0.01, every=4) + Jacobian(2) + Curvature(0.3),
        CrossEntropy() + 0.3 * OneOf((InputGradient("loss", "l2", step=0.1), OneOf((Jacobian(), Curvature(0.3))))),
        OneOf((CrossEntropy(), CrossEntropy() + 0.1 * OneOf((2 * Jacobian(), Curvature(0.3))))),
        CrossEntropy() + 2 * Mimic((("conv1_act", 3.5), ("dense1_act", 1.25)), "unit"),
    ],
)
def test_what_is_read_back_from_json_is_the_same_objective(objective: Objective) -> None:
    spec = as_spec(objective)
    assert spec is not None
    again = from_spec(json.loads(json.dumps(spec)))
    assert as_spec(again) == json.loads(json.dumps(spec)) or repr(again) == repr(objective)


def test_every_sum_that_is_drawn_from_keeps_all_its_terms_when_read_back() -> None:
    objective = OneOf((CrossEntropy() + 0.3 * Jacobian(2), CrossEntropy() + 0.1 * InputGradient("loss")))
    ((weight, read),) = from_spec(json.loads(json.dumps(as_spec(objective)))).terms
    assert weight == 1
    assert repr(read) == repr(objective)


def test_a_single_term_is_a_sum_of_one() -> None:
    assert as_spec(CrossEntropy()) == [{"weight": 1.0, "term": "cross-entropy"}]


def test_of_pgd_training_the_inner_terms_are_told() -> None:
    inner = CrossEntropy() + 0.5 * InputGradient()
    assert as_spec(PGDTraining(Linf(0.1), inner)) == as_spec(inner)


def test_of_what_warmed_up_the_whole_term_is_told() -> None:
    warmed = CrossEntropy() + 0.5 * WarmUp(InputGradient("loss"), 0.2)
    assert as_spec(warmed) == as_spec(CrossEntropy() + 0.5 * InputGradient("loss"))


def test_what_json_cannot_hold_and_unknown_terms_are_not_told() -> None:
    class Own(CrossEntropy):
        pass

    assert as_spec(CrossEntropy() + ActivationEntropy(nn.ReLU)) is None
    assert as_spec(CrossEntropy() + Own()) is None
    assert as_spec(OneOf((CrossEntropy(), Own()))) is None
    assert as_spec(OneOf((CrossEntropy(), CrossEntropy() + Own()))) is None


@pytest.mark.parametrize("spec", [[{"term": "hinge", "weight": 1}], [{"term": "cross-entropy"}], [{"weight": 1}]])
def test_what_describes_no_objective_is_refused(spec: list[dict[str, object]]) -> None:
    with pytest.raises(SettingError, match="as_spec"):
        from_spec(spec)
