"""`retemper certify` end to end: the table, the files, claims, and what it refuses."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from retemper.cli.app import app
from retemper.errors import ModelError, SettingError


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def said(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("certified")
    settings = ("--model", "lipschitz-cnn", "--epochs", 3, "--batch-size", 64, "--learning-rate", 0.005)
    result = run("train", *settings, "--out", out, "--no-progress")
    assert result.exit_code == 0, result.output
    return out / "model.safetensors"


def certify(weights: Path, *words: object) -> Result:
    return run("certify", weights, "--images", 40, "--no-progress", *words)


def test_what_is_certified_lies_below_what_is_attacked_at_every_radius(weights: Path, tmp_path: Path) -> None:
    result = certify(weights, "--threat", "l2:0.1,0.2", "--threat", "l2:1.5", "--out", tmp_path)
    assert result.exit_code == 0
    assert all(words in said(result) for words in ("certified", "attacked", "l2:0.1", "l2:0.2", "l2:1.5"))
    found = json.loads((tmp_path / "certified.json").read_text())
    radii = found["certificates"]["radii"]
    distances = [float("inf") if value is None else value for value in found["curves"][0]["distances"]]
    assert len(radii) == len(distances) == 40
    assert all(radius <= distance for radius, distance in zip(radii, distances, strict=True))
    shares = [entry["accuracy"] for entry in found["certified"]]
    attacked = [entry["accuracy"] for entry in found["robustness"]]
    assert shares == [sum(radius >= limit for radius in radii) / 40 for limit in (0.1, 0.2, 1.5)]
    assert all(low <= high for low, high in zip(shares, attacked, strict=True))
    assert shares[0] > 0.5 > attacked[-1]
    low, high = found["certified"][0]["interval"]
    assert low < shares[0] < high
    drawing = (tmp_path / "certified.svg").read_text()
    assert drawing.startswith("<svg")
    assert "certified" in drawing
    again = certify(weights, "--threat", "l2:0.1,0.2", "--threat", "l2:1.5", "--out", tmp_path)
    assert again.output == result.output


@pytest.mark.parametrize(("claim", "word", "status"), [("0.3@l2:0.1", "proved", 0), ("0.9@l2:3", "refuted", 1)])
def test_a_certificate_proves_a_claim(weights: Path, claim: str, word: str, status: int) -> None:
    result = certify(weights, "--threat", "l2:0.1", "--claim", claim)
    assert said(result).startswith(f"{word}: ")
    assert result.exit_code == status


@pytest.mark.parametrize("words", [("--threat", "linf:0.1"), ("--claim", "0.5@linf:8/255")])
def test_other_norms_are_refused_before_anything_is_loaded(words: tuple[str, ...]) -> None:
    with pytest.raises(SettingError, match=r"in L2.*linf.*retemper evaluate"):
        run("certify", "nowhere.safetensors", *words)


def test_a_network_that_does_not_run_in_a_row_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "class Own(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Linear(64, 10)\n"
        "    def forward(self, inputs):\n"
        "        return self.layer(inputs.flatten(1))\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"known for Own"):
        run("certify", "own:Own", "--no-progress")


def test_a_certificate_that_an_attack_disproves_is_never_shown(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retemper.certification.certificates.product", lambda _layers: 0.1)
    with pytest.raises(ModelError, match=r"certified up to .* and yet broken at"):
        certify(weights, "--threat", "l2:3", "--out", tmp_path)
    assert not (tmp_path / "certified.json").exists()
