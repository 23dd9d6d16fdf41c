import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

# One thread a worker: the suite runs one worker a core, and results stay the same on any machine.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with MNIST and CIFAR-10 in the Hub's layout, or a skip that says how to get one."""
    folder = Path(os.environ.get("RETEMPER_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no MNIST in {folder}: set RETEMPER_DATA to a folder that holds mnist/ and cifar10/")
    return folder


@pytest.fixture(scope="session")
def launch() -> Callable[..., None]:
    """Run a script as a launcher does, in processes that share their work, each with the arguments for its rank."""

    def run(script: Path, arguments: Callable[[int], Sequence[object]], count: int = 2, ends_with: int = 0) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
        processes = [
            subprocess.Popen(
                [sys.executable, script, *map(str, arguments(rank))],
                env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stderr=subprocess.PIPE,
            )
            for rank in range(count)
        ]
        try:
            for process in processes:
                _, errors = process.communicate(timeout=240)
                assert process.returncode == ends_with, errors.decode()
        finally:
            for process in processes:
                process.kill()
                process.communicate()

    return run


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests out of the user's own cache of decoded data."""
    monkeypatch.setenv("RETEMPER_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


class Viewing(nn.Module):
    """A network for one channel of 16x16 that flattens as beginners are taught, which no channels-last layout bears."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), nn.Linear(4 * 14 * 14, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(inputs).view(len(inputs), -1))


@pytest.fixture
def viewing() -> nn.Module:
    torch.manual_seed(0)
    return Viewing()
