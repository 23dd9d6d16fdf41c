"""Real processes, as a launcher starts them: two train what one does, and go on after a kill."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import json, os, signal, sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import retemper
from retemper.models import create
from retemper.objectives import ActivationEntropy, CrossEntropy, Differential, InputGradient
from retemper.training import Stopping

torch.set_num_threads(1)
out, dies_at, written = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
data = retemper.load("digits")
data = replace(data, train=data.train.take(240))  # four batches of which every process takes half
usual = {
    "epochs": 2, "batch_size": 60, "optimiser": "sgd", "learning_rate": 0.1, "precision": "fp32", "progress": False
}
found = {}
for name, objective in {
    "cross-entropy and entropy": CrossEntropy() + 0.5 * ActivationEntropy(),
    "pairs": Differential() + 0.01 * InputGradient(),
    "recipe": retemper.recipe(retemper.Linf(0.1)),
}.items():
    torch.manual_seed(0)
    model = create("mlp", shape=data.shape, classes=10)
    training = retemper.retrain(model, data, objective, **usual)
    found[name] = {
        "weights": [weight.flatten()[::7].tolist() for weight in model.parameters()],
        "loss": [row["loss"] for row in training.history],
    }

torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 10))
epochs = []


def score(model):
    "It hangs on the weights alone; at one of its calls the process dies."
    if len(epochs) == dies_at:
        os.kill(os.getpid(), signal.SIGKILL)
    epochs.append(1)
    return float(model[1].weight.abs().sum())


training = retemper.retrain(
    model, data, CrossEntropy(), stopping=Stopping(score, patience=9), out=out,
    **usual | {"epochs": 4},
)
found["state"] = [value.flatten().tolist() for value in model.state_dict().values()]
found["history"] = [{name: value for name, value in row.items() if name != "seconds"} for row in training.history]
written.write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "script.py"
    path.write_text(SCRIPT)
    return path


def test_two_processes_train_what_one_does_and_go_on_after_a_kill(
    script: Path, launch: Callable[..., None], tmp_path: Path
) -> None:
    never = 99

    def found(out: str, count: int = 2) -> list[dict[str, Any]]:
        files = [tmp_path / f"{out}-{rank}.json" for rank in range(count)]
        launch(script, lambda rank: (tmp_path / out, never, files[rank]), count)
        return [json.loads(file.read_text()) for file in files]

    (alone,), together = found("alone", 1), found("together")
    for name in ("cross-entropy and entropy", "pairs", "recipe"):
        for process in together:
            assert process[name]["loss"] == pytest.approx(alone[name]["loss"], rel=1e-4)
            for mine, theirs in zip(process[name]["weights"], alone[name]["weights"], strict=True):
                assert mine == pytest.approx(theirs, abs=1e-5)

    # Batch statistics and dropout are each process's own, so that one alone trains something else.
    assert together[0] == together[1], "statistics, figures and choices are those of the first process"
    assert len(together[0]["history"]) == 4
    assert not (tmp_path / "together" / "checkpoints").exists()

    launch(script, lambda rank: (tmp_path / "killed", 2, tmp_path / f"{rank}"), ends_with=-signal.SIGKILL)
    assert (tmp_path / "killed" / "checkpoints" / "epoch-00002").is_dir()
    for process in found("killed"):
        assert (process["history"], process["state"]) == (together[0]["history"], together[0]["state"])
