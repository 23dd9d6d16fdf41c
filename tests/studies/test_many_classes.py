from retemper.objectives import CrossEntropy, Differential
from retemper.studies.many_classes import contest
from retemper.threats import Linf


def test_both_losses_have_the_same_optimisers_and_the_pair_loss_is_bare() -> None:
    asked = contest(data="digits", model="mlp", threats=[Linf(0.1)])
    ours, theirs = asked.rivals["differential"], asked.rivals["cross-entropy"]
    assert [way.settings for way in ours] == [way.settings for way in theirs]
    assert {repr(way.objective) for way in ours} == {repr(1 * Differential())}
    assert {repr(way.objective) for way in theirs} == {repr(CrossEntropy())}
    assert len({way.name for way in (*ours, *theirs)}) == len(ours) + len(theirs)
