from retemper.objectives import PGDTraining
from retemper.studies.input_gradient import LOSSES, contest
from retemper.threats import L2


def test_both_losses_have_the_same_choice_of_the_same_penalty() -> None:
    ours, theirs, pgd = contest(threats=[L2(1.0), L2(0.5)]).rivals.values()
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.name.removeprefix("cross-entropy") == other.name.removeprefix("differential")
        assert (one.model, one.activation, one.settings) == (other.model, other.activation, other.settings)
        losses = repr(LOSSES["cross-entropy"]), repr(LOSSES["differential"])
        assert repr(one.objective).replace(*losses) == repr(other.objective)
    (way,) = pgd
    assert isinstance(way.objective, PGDTraining)
    assert (way.objective.threat, way.objective.steps) == (L2(1.0), 10)
