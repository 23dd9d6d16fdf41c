from dataclasses import replace

import numpy as np
import pytest

from retemper.studies.experiment import REPORTED, Experiment
from retemper.studies.looks import Seen
from retemper.studies.reported import Network, Outcome, table
from retemper.studies.ways import Trial
from retemper.threats import Linf

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
    assert [one.verdict(LINF, REPORTED[LINF]).word for one in found.of("entropic-cnn", "entropic")] == [
        "refuted",
        "refuted",
    ]
    assert found.share("entropic-cnn", "entropic", LINF, "FGSM") == pytest.approx(0.55)
    assert found.yielding("entropic-cnn", LINF, REPORTED[LINF]) == ["FGSM"]
    assert found.yielding("entropic-cnn", L2, REPORTED[L2]) == []
    first, second = found.verdict().splitlines()
    assert "linf:8/255: not reproduced under our reading and search: 5.0% (3.8-6.5) stand where 41.88%" in first
    assert first.endswith("(refuted, refuted); so it seems only by FGSM.")
    assert "FGSM" not in second


def test_what_stands_is_reproduced_unless_an_alarm_rings() -> None:
    assert "linf:8/255: reproduced" in outcome(network("entropic", 0, 0.7, 0.6)).verdict()
    rung = outcome(network("entropic", 0, 0.7, 0.6, ringing=("saturated",)))
    assert "linf:8/255: cannot be told, as alarms ring: 60.0% (56.9-63.0) stand" in rung.verdict()
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


def test_where_nothing_was_reported_the_table_says_what_stands_and_compares_it_with_no_figure() -> None:
    found = outcome(network("entropic", 0, 0.6, 0.3))
    elsewhere = replace(found, experiment=Experiment("elsewhere", ("entropic-cnn",), threats=(LINF, L2)))
    assert elsewhere.verdict().splitlines()[0] == (
        "entropic-cnn, linf:8/255: nothing was reported; 30.0% (27.2-32.9) stand."
    )
    assert "reported " not in table(elsewhere)
    assert "entropic - plain, linf:8/255: +30.0 [" in table(elsewhere)
    assert elsewhere.as_json()["reported"] == {"clean": None}
    rung = replace(elsewhere, networks=(*found.networks, network("entropic", 1, 0.6, 0.3, ("saturated",))))
    assert rung.verdict().splitlines()[0].endswith(" stand, and cannot be trusted: saturated.")


def test_where_one_radius_was_reported_the_other_has_no_verdict() -> None:
    found = outcome(network("entropic", 0, 0.6, 0.3))
    other = Linf(0.1)
    networks = [replace(one, seen=one.seen | {other: one.seen[LINF]}) for one in found.networks]
    experiment = replace(found.experiment, threats=(LINF, other))
    both = replace(found, experiment=experiment, networks=tuple(networks))
    first, second = both.verdict().splitlines()
    assert "linf:8/255: not reproduced" in first
    assert "linf:0.1: nothing was reported" in second
    row = next(line for line in table(both).splitlines() if line.startswith("reported"))
    assert row.split() == ["reported", "81.75", "41.88"]


def test_the_cost_is_by_epochs_of_which_pgd_training_has_more() -> None:
    found = outcome(network("entropic", 0, 0.6, 0.3), network("entropic", 1, 0.6, 0.3))
    assert "seconds an epoch of its last training: plain 2.0, entropic 2.0, pgd 0.4" in table(found)
