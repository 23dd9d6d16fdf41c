"""Real processes under gloo and DistributedDataParallel, against one process on the joined batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from retemper.objectives.gathered import gathered

SCRIPT = """
import json, os, sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from retemper.objectives import Differential, InputGradient
from retemper.objectives.gathered import gathered

torch.set_num_threads(1)
rank, world, meeting, cases, written = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]


def step(case):
    "Loss and gradients of this process's part of the batch."
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, case["classes"])).double()
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor(case["labels"])
    inputs = torch.randn(len(labels), 5, generator=generator, dtype=torch.float64)
    if world > 1:
        model = DistributedDataParallel(model)
        bounds = [0, *case["cuts"], len(labels)]
        own = slice(bounds[rank], bounds[rank + 1])
        inputs, labels = inputs[own], labels[own]
    loss = case["weight"] * Differential()
    loss = loss(model, inputs, labels)
    loss.backward()
    return {"loss": loss.item(), "gradients": [parameter.grad.tolist() for parameter in model.parameters()]}


if world > 1:
    dist.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=world)
found = {"steps": [step(case) for case in json.loads(cases)]}
if world > 1 and rank == 0:
    # The others take no part: an exchange would wait for them until the time is up.
    inputs, labels = torch.randn(6, 5).double(), torch.arange(6) % 3
    model = nn.Linear(5, 3).double()
    with torch.no_grad():
        found["alone"] = [Differential()(model, inputs, labels).item()]
        model.eval()
        found["alone"].append((Differential() + 0 * InputGradient())(model, inputs, labels).item())
    found["alone"].append(Differential()(model, inputs, labels).item())
if world > 1:
    dist.barrier()
    logits = torch.arange(2.0 * rank).view(rank, 2) + 10 * rank
    found["rows"], found["labels"] = (rows.tolist() for rows in gathered(logits, torch.full((rank,), rank)))
Path(written).write_text(json.dumps(found))
# Threads of gloo's outlive the group and may need the interpreter while it ends: an abort, once in many runs.
os._exit(0)
"""
TWO_CLASSES = [0, 1, 1, 0, 1, 0, 0, 1, 1, 0]
CASES: dict[str, dict[str, Any]] = {
    "equal parts": {"classes": 2, "labels": TWO_CLASSES, "cuts": [5]},
    "unequal parts": {"classes": 2, "labels": TWO_CLASSES, "cuts": [3]},
    "one class each": {"classes": 2, "labels": [0] * 4 + [1] * 6, "cuts": [4]},
    "one class on one": {"classes": 3, "labels": [2, 2, 0, 1, 2, 0, 1], "cuts": [2]},
    "one class in all": {"classes": 3, "labels": [2] * 7, "cuts": [2]},
    "none on one": {"classes": 3, "labels": [2, 2, 0, 1, 2, 0, 1], "cuts": [0]},
    "six classes": {"classes": 6, "labels": [label % 6 for label in range(23)], "cuts": [9]},
    "by one sort": {"classes": 2, "labels": TWO_CLASSES * 80, "cuts": [333]},
}


def start(script: Path, rank: int, world: int, folder: Path) -> subprocess.Popen[bytes]:
    cases = json.dumps([{"weight": 0.7, **case} for case in CASES.values()])
    written = folder / f"{rank}-of-{world}.json"
    return subprocess.Popen(
        [sys.executable, script, *map(str, (rank, world, folder / f"meeting-{world}", cases, written))],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        stderr=subprocess.PIPE,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What one process found, and each of two."""
    folder = tmp_path_factory.mktemp("processes")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    found: dict[str, list[dict[str, Any]]] = {}
    for name, world in (("one", 1), ("two", 2)):
        processes = [start(script, rank, world, folder) for rank in range(world)]
        try:
            for process in processes:
                _, errors = process.communicate(timeout=240)
                assert process.returncode == 0, errors.decode()
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        found[name] = [json.loads((folder / f"{rank}-of-{world}.json").read_text()) for rank in range(world)]
    return found


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_are_those_of_one_process_on_the_joined_batch(
    case: str, runs: dict[str, list[dict[str, Any]]]
) -> None:
    number = list(CASES).index(case)
    (alone,), together = runs["one"], runs["two"]
    expected = alone["steps"][number]
    assert (expected["loss"] == 0) == (case == "one class in all")
    for process in together:
        assert process["steps"][number]["loss"] == pytest.approx(expected["loss"], rel=1e-10)
        for mine, theirs in zip(process["steps"][number]["gradients"], expected["gradients"], strict=True):
            torch.testing.assert_close(torch.tensor(mine), torch.tensor(theirs), rtol=1e-6, atol=1e-14)


def test_a_process_may_validate_alone(runs: dict[str, list[dict[str, Any]]]) -> None:
    without_gradients, beside_an_input_gradient, in_evaluation_mode = runs["two"][0]["alone"]
    assert without_gradients == beside_an_input_gradient == in_evaluation_mode > 0


def test_rows_come_in_the_order_of_the_processes_even_if_one_has_none(runs: dict[str, list[dict[str, Any]]]) -> None:
    for process in runs["two"]:
        assert process["rows"] == [[10.0, 11.0]]
        assert process["labels"] == [1]


def test_without_a_process_group_nothing_is_gathered() -> None:
    logits, labels = torch.randn(3, 2), torch.arange(3)
    assert gathered(logits, labels) == (logits, labels)
