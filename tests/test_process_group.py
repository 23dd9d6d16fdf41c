from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from retemper import process_group
from retemper.process_group import join, launched, share_buffers

SCRIPT = """
import atexit, sys
from pathlib import Path
from types import SimpleNamespace

import torch.distributed as dist
from accelerate import PartialState

from retemper.process_group import join


def at_the_end():
    "It was registered first, so that it is called last."
    Path(sys.argv[1]).write_text(str(dist.is_initialized()))
    if dist.is_initialized():
        dist.destroy_process_group()


atexit.register(at_the_end)
if sys.argv[2] == "theirs":
    PartialState(cpu=True)
assert join().num_processes == join().num_processes == 2
# One that left at once would cut off another that is still connecting.
join().wait_for_everyone()
"""


@pytest.mark.parametrize(("whose", "there"), [("ours", "False"), ("theirs", "True")])
def test_a_group_that_was_begun_here_is_left_at_the_end_and_no_other(
    whose: str, there: str, launch: Callable[..., None], tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launch(script, lambda rank: (tmp_path / str(rank), whose))
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == [there, there]


WAITING = """
import os, sys, time
from datetime import timedelta

import retemper.process_group
from retemper.process_group import join

retemper.process_group.PATIENCE = timedelta(seconds=float(sys.argv[1]))
state = join()
try:
    if state.process_index == 1:
        time.sleep(6)
    state.wait_for_everyone()
except RuntimeError:
    os._exit(3)
os._exit(0)
"""


@pytest.mark.parametrize(("seconds", "ends_with"), [(60, 0), (1, 3)])
def test_processes_wait_for_each_other_as_long_as_is_said(
    seconds: int, ends_with: int, launch: Callable[..., None], tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(WAITING)
    launch(script, lambda _rank: (seconds,), ends_with=ends_with)


def test_alone_a_process_is_all_there_is() -> None:
    assert not launched()
    state = join()
    assert (state.num_processes, state.is_main_process) == (1, True)
    model = nn.BatchNorm1d(2)
    share_buffers(model)
    assert torch.equal(model.running_mean, torch.zeros(2))


@pytest.mark.parametrize(("mps", "cpu"), [(False, False), (True, True)])
def test_an_accelerator_is_taken_unless_it_lacks_float64(mps: bool, cpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(
        process_group, "PartialState", lambda **settings: asked.append(settings) or SimpleNamespace(num_processes=1)
    )
    process_group.join()
    assert [settings["cpu"] for settings in asked] == [cpu]
