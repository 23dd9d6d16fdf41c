from dataclasses import replace

import numpy as np
import pytest

from retemper.errors import SettingError
from retemper.studies.looks import Seen
from retemper.studies.reported import REPORTED, Experiment, Network, Outcome, table
from retemper.studies.ways import Trial

IMAGES = 1000
LINF, L2 = REPORTED


def stands(share: float) -> np.ndarray:
    return np.arange(IMAGES) < share * IMAGES


def network(way: str, seed: int, fgsm: float, standard: float, ringing: tuple[str, ...] = ()) -> Network:
    seen = (Seen("FGSM", stands(fgsm)), Seen("standard", stands(standard), ringing))
    return Network("entropic-cnn", way, seed, 10.0, stands(0.8), {LINF: seen, L2: seen})


def outcome(*entropic: Network) -> Outcome:
    others = (network("plain", 0, 0.2, 0.0), network("pgd", 0, 0.5, 0.4))
    trials = (Trial("entropic-cnn-plain", 0.8, 0.1), Trial("entropic-cnn-entropic-0.05", 0.79, 0.2))
    experiment = Experiment(models=("entropic-cnn",))
    return Outcome(experiment, {"entropic-cnn": trials[1].way}, trials, (*others, *entropic))


def test_what_falls_under_any_attack_refutes_and_the_look_that_yields_the_figure_is_named() -> None:
    found = outcome(network("entropic", 0, 0.6, 0.0), network("entropic", 1, 0.5, 0.1))
    assert found.networks[-1].worst(LINF).mean() == 0.1
    assert [one.verdict(LINF).word for one in found.of("entropic-cnn", "entropic")] == ["refuted", "refuted"]
    assert found.share("entropic-cnn", "entropic", LINF, "FGSM") == pytest.approx(0.55)
    assert found.yielding("entropic-cnn", LINF) == ["FGSM"]
    assert found.yielding("entropic-cnn", L2) == []
    first, second = found.verdict().splitlines()
    assert "linf:8/255: not reproduced under our reading and search: 5.0% stand where 41.88%" in first
    assert first.endswith("(refuted, refuted); so it seems only by FGSM.")
    assert "FGSM" not in second


def test_what_stands_is_reproduced_unless_an_alarm_rings() -> None:
    assert "linf:8/255: reproduced" in outcome(network("entropic", 0, 0.7, 0.6)).verdict()
    rung = outcome(network("entropic", 0, 0.7, 0.6, ringing=("saturated",)))
    assert "linf:8/255: cannot be told, as alarms ring: 60.0% stand" in rung.verdict()
    assert "(not to be trusted)" in rung.verdict()


def test_what_stands_about_as_was_reported_is_not_called_a_failure() -> None:
    reported = outcome(network("entropic", 0, 0.7, REPORTED[LINF])).verdict().splitlines()[0]
    assert reported.startswith("entropic-cnn, linf:8/255: within the noise of what was reported: ")
    assert reported.endswith("(undecided).")


def test_the_table_shows_the_search_every_look_and_the_gain_over_plain_retraining() -> None:
    text = table(outcome(network("entropic", 0, 0.6, 0.3, ("saturated",)), network("entropic", 1, 0.5, 0.1)))
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "41.88" in rows["reported"]
    assert "entropic-cnn-entropic-0.05 *" in text
    assert "20.0 ! (30.0 10.0)" in rows["entropic-cnn, entropic, standard"]
    assert "55.0 (60.0 50.0)" in rows["entropic-cnn, entropic, FGSM"]
    assert "80.0" in rows["entropic-cnn, plain, FGSM"]
    assert "entropic - plain, linf:8/255: +20.0 [" in text
    assert "entropic-cnn, pgd, standard" in rows


def test_what_was_run_on_one_side_alone_is_no_part_of_the_gain() -> None:
    ours = network("entropic", 0, 0.6, 0.3)
    official = {threat: (*seen, Seen("official AutoAttack", stands(0.1))) for threat, seen in ours.seen.items()}
    text = table(outcome(replace(ours, seen=official), network("entropic", 1, 0.5, 0.1)))
    assert "entropic - plain, linf:8/255: +20.0 [" in text
    assert replace(ours, seen=official).worst(LINF).mean() == 0.1


def test_a_study_without_pgd_training_has_a_table_without_it() -> None:
    found = outcome(network("entropic", 0, 0.6, 0.3))
    text = table(replace(found, networks=tuple(one for one in found.networks if one.way != "pgd")))
    assert "entropic-cnn, entropic, standard" in text
    assert "pgd" not in text


@pytest.mark.parametrize(
    ("changes", "message"), [({"epochs": 0}, "`epochs` to be 1 or more"), ({"weights": ()}, "one weight at least")]
)
def test_bad_settings_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Experiment(**changes)  # type: ignore[arg-type]  # the values are of several types
