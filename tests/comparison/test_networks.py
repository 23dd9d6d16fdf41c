from pathlib import Path

import pytest
import torch

from retemper.comparison.networks import _read_examples, _write_examples
from retemper.errors import CheckpointError
from retemper.evaluation import Example


def test_examples_are_read_back_as_they_were(tmp_path: Path) -> None:
    examples = [Example(index, 3, 8, torch.rand(1, 4, 4), torch.rand(1, 4, 4)) for index in (2, 5)]
    _write_examples(tmp_path / "examples.safetensors", examples)
    for ours, theirs in zip(_read_examples(tmp_path / "examples.safetensors"), examples, strict=True):
        assert (ours.index, ours.label, ours.predicted) == (theirs.index, theirs.label, theirs.predicted)
        assert torch.equal(ours.original, theirs.original)
        assert torch.equal(ours.adversarial, theirs.adversarial)


def test_no_example_is_no_file(tmp_path: Path) -> None:
    _write_examples(tmp_path / "examples.safetensors", [])
    assert _read_examples(tmp_path / "examples.safetensors") == []


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "examples.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match=r"examples\.safetensors is damaged"):
        _read_examples(tmp_path / "examples.safetensors")
