from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from retemper import process_group
from retemper.cli.networks import build
from retemper.models import create, save
from retemper.models.inference import device_of


def test_a_network_goes_to_the_accelerator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_group, "join", lambda: SimpleNamespace(device=torch.device("meta")))
    save(create("mlp", shape=(4,), classes=2), tmp_path / "model.safetensors")
    (tmp_path / "nearby_networks.py").write_text("import torch\ndef linear(): return torch.nn.Linear(4, 2)\n")
    monkeypatch.chdir(tmp_path)
    for model in ("model.safetensors", "nearby_networks:linear"):
        assert device_of(build(model, None)) == torch.device("meta")
