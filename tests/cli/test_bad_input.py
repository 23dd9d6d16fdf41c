"""What a person gets wrong: one clear message, exit status 2, no traceback, and nothing lost."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from retemper.cli import app as command
from retemper.models import create, save


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save(create("mlp", shape=(1, 8, 8), classes=10), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> str:
    """Run the command as from a shell; the message on standard error, after checking how it failed."""
    monkeypatch.setattr("sys.argv", ["retemper", *map(str, words)])
    with pytest.raises(SystemExit) as exit_status:
        command.main()
    captured = capsys.readouterr()
    assert exit_status.value.code == 2, captured.err
    assert "Traceback" not in captured.err
    return captured.err


def arrays(path: Path, **changes: object) -> Path:
    """A small .npz data set that is right but for the changes."""
    generator = np.random.default_rng(0)
    content = {
        "x_train": generator.random((40, 8, 8), dtype=np.float32),
        "y_train": np.arange(40) % 10,
        "x_test": generator.random((20, 8, 8), dtype=np.float32),
        "y_test": np.arange(20) % 10,
    } | changes
    np.savez(path, **content)
    return path


ARRAYS = {
    "dtype": ({"x_train": np.zeros((40, 8, 8), dtype=np.complex64)}, "complex64"),
    "range": ({"x_test": np.full((20, 8, 8), 255.0, dtype=np.float32)}, "255"),
    "nan": ({"x_train": np.full((40, 8, 8), np.nan, dtype=np.float32)}, "NaN"),
    "shape": ({"x_train": np.zeros((40, 8, 8, 5, 2), dtype=np.float32)}, r"\(40, 8, 8, 5, 2\)"),
    "float labels": ({"y_train": np.linspace(0, 1, 40)}, "label"),
    "missing labels": ({"y_train": np.arange(39) % 10}, "39"),
    "negative labels": ({"y_test": -np.ones(20, dtype=np.int64)}, "-1"),
}


@pytest.mark.parametrize(("changes", "message"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_are_no_data_set(changes, message, tmp_path, weights, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    path = arrays(tmp_path / "data.npz", **changes)
    error = fails(capsys, monkeypatch, "evaluate", weights, "--data", path)
    assert re.search(message, error), error


WORDS = {
    "unknown data": (["profile", "{weights}", "--data", "minst"], "mnist"),
    "unreadable data": (["profile", "{weights}", "--data", "{broken}"], "broken.npz"),
    "unknown classes": (["profile", "{weights}", "--classes", "3,horse"], "horse"),
    "missing weights": (["profile", "nowhere.safetensors"], "nowhere.safetensors"),
    "a pickle as weights": (["profile", "model.pt"], "pickle"),
    "truncated weights": (["profile", "{cut}"], "cut.safetensors"),
    "no such factory": (["profile", "{weights}", "--model", "nonesuch.module:net"], "nonesuch"),
    "unknown layer": (["profile", "{weights}", "--layers", "conv9"], "conv9"),
    "negative radius": (["evaluate", "{weights}", "--threat", "linf:-0.1"], "positive"),
    "unknown norm": (["evaluate", "{weights}", "--threat", "l7:0.1"], "l7:0.1"),
    "unknown attack": (["evaluate", "{weights}", "--attacks", "apgd-ce,cw"], "cw"),
    "unknown split": (["evaluate", "{weights}", "--split", "dev"], "validation"),
    "no steps": (["evaluate", "{weights}", "--attacks", "apgd-ce", "--steps", "0"], "steps"),
    "steps of a budget": (["evaluate", "{weights}", "--steps", "5"], "--attacks"),
    "unknown budget": (["evaluate", "{weights}", "--budget", "huge"], "thorough"),
    "budget beside attacks": (
        ["evaluate", "{weights}", "--budget", "quick", "--attacks", "fgsm"],
        "`--budget` or `--attacks`",
    ),
    "unknown reference": (["evaluate", "{weights}", "--reference", "robustbench"], "autoattack"),
    "reference at two threats": (
        ["evaluate", "{weights}", "--reference", "autoattack", "--threat", "linf:0.1,0.2"],
        "one threat",
    ),
    "claim without a threat": (["evaluate", "{weights}", "--claim", "0.41"], "0.41@linf:8/255"),
    "plan without a claim": (["evaluate", "--plan"], "--claim"),
    "no network": (["evaluate"], "weights"),
    "unknown factory": (["evaluate", "no.such:network"], "no.such"),
    "no images": (["evaluate", "{weights}", "--images", "0"], "0"),
    "class count": (["evaluate", "{weights}", "--classes", "3,8"], "classes"),
    "unknown objective": (["train", "--objective", "entropy", "--out", "{out}"], "entropic"),
    "unknown network": (["train", "--model", "resnet", "--out", "{out}"], "resnet"),
    "a network for images on vectors": (["train", "--data", "{vectors}", "--out", "{out}"], "mlp"),
    "unknown optimiser": (["train", "--optimiser", "lion", "--out", "{out}"], "lion"),
}


@pytest.mark.parametrize(("words", "message"), WORDS.values(), ids=WORDS)
def test_words_that_mean_nothing(words, message, tmp_path, weights, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    places = {"{weights}": weights, "{out}": tmp_path / "out"}
    for name, content in {"{broken}": b"PK\x03\x04 cut", "{cut}": weights.read_bytes()[:500]}.items():
        places[name] = tmp_path / {"{broken}": "broken.npz", "{cut}": "cut.safetensors"}[name]
        places[name].write_bytes(content)
    places["{vectors}"] = arrays(
        tmp_path / "vectors.npz",
        x_train=np.zeros((200, 5), dtype=np.float32),
        y_train=np.arange(200) % 10,
        x_test=np.zeros((20, 5), dtype=np.float32),
    )
    error = fails(capsys, monkeypatch, *[places.get(word, word) for word in words])
    assert message in error
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_weights_of_nan(tmp_path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    model = create("mlp", shape=(1, 8, 8), classes=10)
    torch.nn.init.constant_(model.dense1.bias, float("nan"))
    save(model, tmp_path / "nan.safetensors")
    assert "dense1.bias" in fails(capsys, monkeypatch, "evaluate", tmp_path / "nan.safetensors", "--no-progress")


def test_a_folder_that_holds_another_run(tmp_path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sys.argv", ["retemper", "train", "--model", "mlp", "--epochs", "1", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        command.main()
    before = (tmp_path / "model.safetensors").read_bytes()
    error = fails(capsys, monkeypatch, "train", "--model", "mlp", "--epochs", "2", "--out", tmp_path, "--no-progress")
    assert "another finished run" in error
    assert "settings" in error
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_truncated_checkpoint(tmp_path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    checkpoint = tmp_path / "checkpoints" / "epoch-00001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "run.json").write_text('{"identity": {"obj')
    error = fails(capsys, monkeypatch, "train", "--model", "mlp", "--out", tmp_path, "--no-progress")
    assert "run.json is damaged" in error
    assert checkpoint.is_dir()


def test_a_full_disk(tmp_path, weights, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    written = tmp_path / "figures.json"
    written.write_text("earlier figures")
    error = fails(
        capsys,
        monkeypatch,
        "evaluate",
        weights,
        "--images",
        "5",
        "--budget",
        "quick",
        "--json",
        written,
        "--no-progress",
    )
    assert "No space left on device" in error
    assert written.read_text() == "earlier figures"


def test_a_folder_that_cannot_be_written(tmp_path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("a file, no folder")
    error = fails(
        capsys, monkeypatch, "compare", "--model", "mlp", "--out", tmp_path / "file" / "below", "--no-progress"
    )
    assert "Reading or writing failed" in error
    assert (tmp_path / "file").read_text() == "a file, no folder"
