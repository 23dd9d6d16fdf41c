import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from retemper.process_group import join, launched, share_buffers

SCRIPT = """
import atexit, sys
from pathlib import Path

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
"""


@pytest.mark.parametrize(("whose", "there"), [("ours", "False"), ("theirs", "True")])
def test_a_group_that_was_begun_here_is_left_at_the_end_and_no_other(whose: str, there: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, tmp_path / str(rank), whose],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == [there, there]


def test_alone_a_process_is_all_there_is() -> None:
    assert not launched()
    state = join()
    assert (state.num_processes, state.is_main_process) == (1, True)
    model = nn.BatchNorm1d(2)
    share_buffers(model)
    assert torch.equal(model.running_mean, torch.zeros(2))
