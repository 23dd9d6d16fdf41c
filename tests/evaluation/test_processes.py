"""Real processes: shared among two, and killed in the middle; both end where one process alone does."""

import json
import runpy
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retemper.evaluation.processes import Processes

SCRIPT = """
import json, os, signal, sys
from pathlib import Path

import torch
from torch import nn

from retemper.data import Split, load
from retemper.evaluation import Attack, evaluate
from retemper.threats import Linf

torch.set_num_threads(1)


class Rounded(nn.Module):
    "Its gradients are zero, so that alarms ring and are answered."

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))

    def forward(self, inputs):
        return 3 * self.network((inputs * 15).round() / 15)


def run(out=None, dies_at=None, resume=True):
    "The evaluation as JSON; it kills itself at the start of the attack on this chunk, if one is given."
    model = Rounded()
    inputs, labels = load("digits").test.take(24).batch(slice(None))
    labels = torch.cat([labels[:3], model(inputs[3:]).argmax(1)])
    calls = []

    def attack(model, inputs, labels, threat, noise):
        "Random points, so that every distance tells which noise was drawn."
        calls.append(1)
        if len(calls) - 1 == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        found = inputs.clone()
        for number in range(50):
            points = threat.random_start(inputs, noise.at(number))
            wrong = model(points).argmax(1) != labels
            found[wrong] = points[wrong]
        return found

    evaluation = evaluate(
        model, Split(inputs, labels), [Linf(0.1)], attacks=[Attack("random", "50 points", attack)],
        batch_size=7, out=out, resume=resume, progress=False,
    )
    return json.dumps(evaluation.as_json())


if __name__ == "__main__":
    out, dies_at, written, resume = sys.argv[1:]
    Path(written).write_text(run(out or None, int(dies_at) if dies_at else None, resume == "True"))
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="module")
def run(script: Path) -> Callable[..., str]:
    return runpy.run_path(str(script))["run"]


@pytest.fixture(scope="module")
def alone(run: Callable[..., str]) -> str:
    """What one process finds without a break."""
    text = run()
    (found,) = json.loads(text)["robustness"]
    assert any(alarm["rings"] and alarm["answered_by"] for alarm in found["alarms"])
    assert 0 < found["broken_by"]["random"] < 21
    assert found["broken_by"]["answers to alarms"] > 0
    return text


def test_after_a_kill_the_same_call_ends_as_if_there_had_been_none(
    script: Path, launch: Callable[..., None], run: Callable[..., str], alone: str, tmp_path: Path
) -> None:
    out, written = tmp_path / "out", tmp_path / "written.json"
    launch(script, lambda _rank: (out, 2, written, True), count=1, ends_with=-signal.SIGKILL)
    assert not written.exists()
    done = {path: path.stat().st_mtime_ns for path in out.glob("chunk-*.safetensors")}
    assert sorted(path.name for path in done) == ["chunk-00000.safetensors", "chunk-00001.safetensors"]
    assert run(out) == alone
    assert {path: path.stat().st_mtime_ns for path in done} == done, "what was done is not done again"


@pytest.mark.parametrize("resume", [True, False])
def test_two_processes_find_what_one_finds(
    resume: bool, script: Path, launch: Callable[..., None], run: Callable[..., str], alone: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    if not resume:
        run(out)
        (out / "chunk-00001.safetensors").write_bytes(b"damaged: to be read back by nobody")
    launch(script, lambda rank: (out, "", tmp_path / f"{rank}.json", resume))
    assert [(tmp_path / f"{rank}.json").read_text() for rank in range(2)] == [alone, alone]
    assert len(list(out.glob("chunk-*.safetensors"))) == 4


def test_alone_a_process_does_everything_wherever_the_model_is() -> None:
    processes = Processes()
    assert (processes.index, processes.count, processes.device, processes.is_main) == (0, 1, None, True)
    assert all(processes.own(number) for number in range(5))
    assert processes.gather({3: "found"}) == {3: "found"}


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_piece_of_work_is_that_of_one_process(count: int) -> None:
    class Simulated(Processes):
        def __init__(self, index: int) -> None:
            self.index, self.count = index, count

    owners: list[Any] = [[Simulated(index).own(number) for index in range(count)] for number in range(11)]
    assert all(sum(of_number) == 1 for of_number in owners)
    assert [Simulated(index).is_main for index in range(count)] == [index == 0 for index in range(count)]
