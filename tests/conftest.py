import os
from pathlib import Path

import pytest
import torch

# One thread a worker: the suite runs one worker a core, and results stay the same on any machine.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with MNIST and CIFAR-10 in the Hub's layout, or a skip that says how to get one."""
    folder = Path(os.environ.get("RETEMPER_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no MNIST in {folder}: set RETEMPER_DATA to a folder that holds mnist/ and cifar10/")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests out of the user's own cache of decoded data."""
    monkeypatch.setenv("RETEMPER_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
