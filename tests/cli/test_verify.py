"""`retemper verify` end to end, as a person calls it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from retemper.attacks import pgd
from retemper.cli import app as command
from retemper.cli.app import app
from retemper.data import Data, load
from retemper.evaluation.bundle import Bundle, write_bundle
from retemper.evaluation.claim import parse_claim
from retemper.models import Network, create, predict, save

FACTORY = """
import torch
from retemper.models import create

def bare():
    return create("mlp", shape=(1, 8, 8), classes=10)

def trained():
    torch.manual_seed(0)
    return bare()
"""


@pytest.fixture(scope="module")
def data() -> Data:
    return load("digits")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Data) -> Path:
    """A folder with a network that knows nothing, its refutation at a claim of 50 %, and a module that builds it."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = create("mlp", shape=data.shape, classes=10)
    save(model, "model.safetensors")
    write_bundle("refutation.safetensors", refutation(model, data))
    Path("factories.py").write_text(FACTORY)
    return tmp_path


def refutation(model: Network, data: Data) -> Bundle:
    split = data.test.take(60)
    inputs, labels = split.batch(slice(None))
    claim = parse_claim("0.5@linf:0.1")
    points = pgd(model, inputs, labels, claim.threat, steps=5)
    right = predict(model, [(inputs, labels)])[0].argmax(1) == labels
    points = torch.where(right[:, None, None, None], points, inputs)
    standing = predict(model, [(points, labels)])[0].argmax(1) == labels
    about = {"name": data.name, "split": "test", "fingerprint": data.fingerprint()}
    return Bundle.of(model, split, points, standing, claim, classes=10, data=about, attacks=("pgd",), seed=0)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["verify", *words], catch_exceptions=False)


def shown(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    "model",
    [
        ["--model", "model.safetensors"],
        ["--model", "model.safetensors", "--factory", "factories:bare"],
        ["--model", "factories:trained"],
    ],
)
def test_a_refutation_stands(folder: Path, model: list[str]) -> None:
    result = run("refutation.safetensors", *model, "--data", "digits", "--json", "found.json")
    assert result.exit_code == 0, result.output
    assert "The refutation stands" in shown(result)
    assert "NO" not in shown(result)
    found = json.loads(Path("found.json").read_text())
    assert found["stands"]
    assert found["same_data"]
    assert found["wrong"] == found["inside"] == found["listed"] > 40
    assert f"{found['wrong']} of {found['listed']}" in shown(result)


def test_without_data_it_says_that_nobody_compared_them(folder: Path) -> None:
    result = run("refutation.safetensors", "--model", "model.safetensors")
    assert result.exit_code == 0
    assert "not checked (give --data)" in shown(result)
    assert "stands: if its originals and labels are those of the data, at most" in shown(result)


def test_another_network_or_other_data_do_not_stand(folder: Path, data: Data) -> None:
    torch.manual_seed(1)
    save(create("mlp", shape=data.shape, classes=10), "other.safetensors")
    result = run("refutation.safetensors", "--model", "other.safetensors", "--json", "found.json")
    assert result.exit_code == 1
    assert "DOES NOT STAND: it is not one of this model, these bounds or these data." in shown(result)
    assert "% of" not in shown(result)
    assert not json.loads(Path("found.json").read_text())["same_weights"]
    model = create("mlp", shape=data.shape, classes=10)
    moved = replace(refutation(model, data), data={"name": "digits", "split": "train", "fingerprint": ""})
    save(model, "model.safetensors")
    write_bundle("moved.safetensors", moved)
    result = run("moved.safetensors", "--model", "model.safetensors", "--data", "digits")
    assert result.exit_code == 1
    assert "those of the data │ NO" in shown(result)


def test_what_a_bundle_says_of_its_draws_and_its_data_is_not_repeated_unread(folder: Path, data: Data) -> None:
    model = create("mlp", shape=data.shape, classes=10)
    save(model, "model.safetensors")
    ours = refutation(model, data)
    write_bundle("draws.safetensors", replace(ours, draws=10**9, data=ours.data | {"name": "digits [/x]:robot:"}))
    result = run("draws.safetensors", "--model", "model.safetensors", "--json", "found.json")
    assert result.exit_code == 0, result.output
    assert "draws" not in shown(result)
    assert json.loads(Path("found.json").read_text())["draws"] == 1
    assert "on digits [/x]:robot:" in shown(result)


def test_inputs_that_are_answered_rightly_do_not_refute(folder: Path, data: Data) -> None:
    model = create("mlp", shape=data.shape, classes=10)
    save(model, "model.safetensors")
    ours = refutation(model, data)
    inputs, labels = data.test.take(60).batch(slice(None))
    right = (predict(model, [(inputs, labels)])[0].argmax(1) == labels).nonzero()[:, 0]
    assert len(right) > 0
    as_they_are = {"originals": inputs[right], "adversarial": inputs[right], "labels": labels[right], "indices": right}
    write_bundle("right.safetensors", replace(ours, **as_they_are))
    result = run("right.safetensors", "--model", "model.safetensors")
    assert result.exit_code == 1
    assert "DOES NOT STAND: by what was rechecked as many as 100.0 % of 60 images" in shown(result)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.safetensors", "--model", "model.safetensors"], "nowhere.safetensors cannot be read"),
        (["model.safetensors", "--model", "model.safetensors"], "is no refutation"),
        (["cut.safetensors", "--model", "model.safetensors"], "cut.safetensors"),
        (["refutation.safetensors", "--model", "nowhere.safetensors"], "nowhere.safetensors"),
        (["refutation.safetensors", "--model", "factories:none"], "factories:none"),
        (["refutation.safetensors", "--model", "factories:bare", "--factory", "factories:bare"], "another factory"),
        (["refutation.safetensors", "--model", "refutation.safetensors"], "which network"),
        (["refutation.safetensors", "--model", "model.safetensors", "--data", "minst"], "minst"),
    ],
)
def test_what_cannot_be_checked_is_one_message_and_exit_status_2(
    words: list[str],
    message: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("cut.safetensors").write_bytes(Path("refutation.safetensors").read_bytes()[:-10])
    monkeypatch.setattr("sys.argv", ["retemper", "verify", *words])
    with pytest.raises(SystemExit) as exit_status:
        command.main()
    assert exit_status.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
