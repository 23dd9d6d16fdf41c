import json
from pathlib import Path

import pytest

from retemper.errors import SettingError
from retemper.information import Spectrum
from retemper.studies.real_features import Measured, Pair, Study, run, summary

SPECTRUM = Spectrum((2.0, 1.0), 1.8, 2, 0, 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def measured(folder: Path) -> Measured:
    (found,) = run(Study(classes=("0", "1", "3"), model="mlp", epochs=30, seeds=1), folder, progress=False)
    return found


def test_no_classifier_has_a_larger_margin_than_the_svm(measured: Measured) -> None:
    assert [(pair.first, pair.second) for pair in measured.pairs] == [("0", "1"), ("0", "3"), ("1", "3")]
    for pair in measured.pairs:
        assert pair.svm is not None
        assert pair.limit is not None
        assert pair.differential is not None
        assert 0 < pair.last_layer < pair.svm
        assert 0 < pair.limit <= pair.svm * (1 + 1e-6)
        assert 0.99 * pair.svm < pair.differential <= pair.svm * (1 + 1e-6)


def test_what_was_measured_is_written_and_read_back(measured: Measured, folder: Path) -> None:
    written = json.loads((folder / "results.json").read_text())
    assert measured.training_errors == 0
    assert len(measured.spectrum.singular_values) == 128
    assert written["networks"][0]["pairs"][0]["svm"] == measured.pairs[0].svm
    weights = (folder / "plain-0" / "model.safetensors").stat().st_mtime_ns
    (again,) = run(Study(classes=("0", "1", "3"), model="mlp", epochs=30, seeds=1), folder, progress=False)
    assert (folder / "plain-0" / "model.safetensors").stat().st_mtime_ns == weights
    assert again == measured


def test_the_summary_is_the_median_over_pairs_that_can_be_told_apart() -> None:
    pairs = (
        Pair("a", "b", 1.0, 3.0, 4.0, 4.0),
        Pair("a", "c", 1.0, 2.0, None, 2.0),
        Pair("b", "c", -1.0, 1.0, 1.0, 1.0),
        Pair("b", "d", -9.0, None, None, None),
    )
    assert summary(Measured(0, 3, SPECTRUM, pairs)) == {
        "overlapping": 1,
        "last_layer": 0.25,
        "limit": 1.0,
        "differential": 1.0,
    }


def test_of_an_even_number_of_pairs_the_median_is_the_mean_of_the_middle_two() -> None:
    pairs = (Pair("a", "b", 1.0, 3.0, 4.0, 4.0), Pair("a", "c", 1.0, 2.0, None, 2.0))
    assert summary(Measured(0, 3, SPECTRUM, pairs))["last_layer"] == (0.25 + 0.5) / 2


@pytest.mark.parametrize("wrong", ["epochs", "seeds"])
def test_impossible_studies_are_refused(wrong: str) -> None:
    with pytest.raises(SettingError, match=wrong):
        Study(**{wrong: 0})  # type: ignore[arg-type]
