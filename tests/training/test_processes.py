"""Real processes, as a launcher starts them: two train what one does, and go on after a kill."""

import json
import os
import signal
import socket
import subprocess
import sys
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


def launched(script: Path, count: int, out: Path, dies_at: int, ends_with: int = 0) -> list[dict[str, Any]]:
    """What each of the processes found; none where they are to die."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    files = [out.parent / f"{out.name}-{rank}-of-{count}.json" for rank in range(count)]
    processes = [
        subprocess.Popen(
            [sys.executable, script, out, str(dies_at), file],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank, file in enumerate(files)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == ends_with, errors.decode()
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return [json.loads(file.read_text()) for file in files] if ends_with == 0 else []


def test_two_processes_train_what_one_does_and_go_on_after_a_kill(script: Path, tmp_path: Path) -> None:
    never = 99
    (alone,) = launched(script, 1, tmp_path / "alone", never)
    together = launched(script, 2, tmp_path / "together", never)
    for name in ("cross-entropy and entropy", "pairs", "recipe"):
        for process in together:
            assert process[name]["loss"] == pytest.approx(alone[name]["loss"], rel=1e-4)
            for mine, theirs in zip(process[name]["weights"], alone[name]["weights"], strict=True):
                assert mine == pytest.approx(theirs, abs=1e-5)

    # Batch statistics and dropout are each process's own, so that one alone trains something else.
    assert together[0] == together[1], "statistics, figures and choices are those of the first process"
    assert len(together[0]["history"]) == 4
    assert not (tmp_path / "together" / "checkpoints").exists()

    launched(script, 2, tmp_path / "killed", 2, ends_with=-signal.SIGKILL)
    assert (tmp_path / "killed" / "checkpoints" / "epoch-00002").is_dir()
    gone_on = launched(script, 2, tmp_path / "killed", never)
    for process in gone_on:
        assert (process["history"], process["state"]) == (together[0]["history"], together[0]["state"])
