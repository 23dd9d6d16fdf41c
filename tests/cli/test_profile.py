"""`retemper profile` end to end: the table, the files, two networks, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from retemper.cli.app import app
from retemper.data import load
from retemper.errors import LayerError, SettingError
from retemper.information import QUANTITIES, profile
from retemper.models import load as load_model


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small networks trained on the digits, and one of another kind."""
    folder = tmp_path_factory.mktemp("networks")
    for name, model, objective in [("plain", "mlp", "plain"), ("pgd", "mlp", "pgd"), ("other", "small-cnn", "plain")]:
        words = ("--model", model, "--objective", objective, "--epochs", 2, "--batch-size", 128)
        result = run("train", *words, "--out", folder / name, "--no-progress")
        assert result.exit_code == 0, result.output
    return folder


def weights(networks: Path, name: str) -> Path:
    return networks / name / "model.safetensors"


def said(result: Result) -> str:
    return " ".join(result.output.split())


def test_the_files_hold_what_was_measured_and_the_table_what_the_files_hold(networks: Path, tmp_path: Path) -> None:
    result = run("profile", weights(networks, "plain"), "--images", 60, "--out", tmp_path)
    assert result.exit_code == 0
    assert "plain on digits: 60 test images" in said(result)
    (found,) = json.loads((tmp_path / "profile.json").read_text())["networks"]
    shown = load("digits").test.take(60)
    expected = profile(load_model(weights(networks, "plain"), None), shown.batches(256))
    assert [layer["layer"] for layer in found["layers"]] == [layer.layer for layer in expected]
    for entry, layer in zip(found["layers"], expected, strict=True):
        assert entry["images"] == entry["gram_images"] == 60
        assert entry["maxima"] == layer.maxima
        assert entry["intervals"] == {quantity: list(layer.interval(quantity)) for quantity in QUANTITIES}
        rank, (low, high) = entry["effective_rank"], entry["intervals"]["effective_rank"]
        assert f"effective rank {rank:.1f} {layer.maxima['effective_rank']:.1f} {low:.1f}–{high:.1f}" in said(result)
    assert [change["layer"] for change in found["changes"]] == [layer.layer for layer in expected[1:]]
    assert (tmp_path / "profile.svg").read_text().startswith("<svg")
    again = run("profile", weights(networks, "plain"), "--images", 60, "--out", tmp_path)
    assert again.output == result.output


def test_two_networks_stand_side_by_side_with_their_difference(networks: Path, tmp_path: Path) -> None:
    pair = (weights(networks, "pgd"), "--against", weights(networks, "plain"))
    result = run("profile", *pair, "--images", 60, "--out", tmp_path)
    assert "pgd minus plain on digits: 60 test images" in said(result)
    found = json.loads((tmp_path / "profile.json").read_text())
    assert [network["name"] for network in found["networks"]] == ["pgd", "plain"]
    ours, theirs = (network["layers"] for network in found["networks"])
    for our, their, gap in zip(ours, theirs, found["difference"], strict=True):
        for quantity in QUANTITIES:
            estimate = gap["values"][quantity]
            assert estimate["value"] == pytest.approx(our[quantity] - their[quantity])
            low, high = estimate["interval"]
            assert low <= estimate["value"] <= high
        assert f"active units {100 * our['active']:.1f} {100 * their['active']:.1f} 100.0" in said(result)
    assert "pgd minus plain, points" in (tmp_path / "profile.svg").read_text()


def test_a_network_does_not_differ_from_a_copy_of_itself(networks: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    shutil.copy(weights(networks, "plain"), copy)
    run("profile", weights(networks, "plain"), "--against", copy, "--images", 30, "--out", tmp_path)
    for layer in json.loads((tmp_path / "profile.json").read_text())["difference"]:
        for estimate in layer["values"].values():
            assert estimate == {"value": 0, "interval": [0, 0]}


def test_networks_that_do_not_fit_together_are_an_error(networks: Path, tmp_path: Path) -> None:
    with pytest.raises(LayerError, match=r"dense1_act .* against conv1_act"):
        run("profile", weights(networks, "plain"), "--against", weights(networks, "other"), "--images", 20)
    with pytest.raises(SettingError, match="same file"):
        run("profile", weights(networks, "plain"), "--against", weights(networks, "plain"))


def test_networks_of_the_same_name_are_told_apart_by_their_paths(networks: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    other = shutil.copy(weights(networks, "pgd"), tmp_path / "plain" / "model.safetensors")
    out = tmp_path / "out"
    run("profile", weights(networks, "plain"), "--against", other, "--images", 20, "--out", out)
    names = [network["name"] for network in json.loads((out / "profile.json").read_text())["networks"]]
    assert names == [str(weights(networks, "plain")), str(other)]


def test_the_table_says_where_fewer_images_were_compared(networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(profile.__kwdefaults__, "gram_images", 40)
    result = run("profile", weights(networks, "plain"), "--images", 60)
    assert "Renyi entropy and effective rank: of the first 40 images" in said(result)
