from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.recipes import autoattacked
from retemper.data import Split
from retemper.files import read_json
from retemper.threats import Linf, Threat


def test_a_killed_run_goes_on_after_what_it_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoattacked, "CHUNK", 3)
    split = Split(torch.arange(12.0).unsqueeze(1) / 12, torch.zeros(12, dtype=torch.long))
    standing = np.arange(10) % 4 != 1  # 0 2 3 4 6 7 8, and 10 and 11 are not asked about
    faced: list[list[int]] = []
    killed_at = 2

    def breaks_what_is_even(_model: nn.Module, part: Split, _threat: Threat) -> SimpleNamespace:
        images = (part.batch(slice(None))[0] * 12).round().long().flatten().tolist()
        faced.append(images)
        if len(faced) == killed_at:
            raise KeyboardInterrupt
        return SimpleNamespace(standing=np.array([image % 2 == 1 for image in images]), package="none", seconds=2.0)

    monkeypatch.setattr(autoattacked, "autoattack", breaks_what_is_even)
    written = tmp_path / "autoattack.json"
    with pytest.raises(KeyboardInterrupt):
        autoattacked.left(nn.Identity, split, Linf(0.1), standing, written)
    found = autoattacked.left(nn.Identity, split, Linf(0.1), standing, written)
    assert np.flatnonzero(found).tolist() == [3, 7]
    assert faced == [[0, 2, 3], [4, 6, 7], [4, 6, 7], [8]]
    assert read_json(written) == {"standing": found.tolist(), "package": "none", "seconds": 6.0}

    def refused() -> nn.Module:
        raise AssertionError("nothing is left to attack")

    assert autoattacked.left(refused, split, Linf(0.1), standing, written).tolist() == found.tolist()
