import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from retemper.data import Split
from retemper.errors import CheckpointError
from retemper.evaluation.bundle import Bundle, read_bundle, write_bundle
from retemper.evaluation.claim import Claim
from retemper.models.hashing import weights_hash
from retemper.threats import L2, Linf, Threat


def bundle(threat: Threat | None = None, dtype: torch.dtype = torch.float32) -> tuple[Bundle, nn.Module, Split, Tensor]:
    """Six of ten images fallen, the first of them as it is."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).to(dtype)
    split = Split(torch.randint(256, (10, 1, 2, 2)).to(torch.uint8), torch.arange(10) % 3)
    inputs, _ = split.batch(slice(None))
    points = (inputs.to(dtype) + 0.05).clamp(0, 1)
    points[0] = inputs[0]
    standing = torch.tensor([0, 1, 0, 0, 1, 0, 1, 0, 0, 1], dtype=torch.bool)
    gathered = Bundle.of(
        model, split, points, standing, Claim(0.9, threat or Linf(0.1)), classes=3,
        data={"name": "ten", "split": "test", "fingerprint": "f00"}, attacks=("apgd-ce (5 steps)",), seed=4, draws=3,
    )  # fmt: skip
    return gathered, model, split, points


def test_a_bundle_holds_the_images_that_fell() -> None:
    gathered, model, split, points = bundle()
    assert gathered.indices.tolist() == [0, 2, 3, 5, 7, 8]
    for place, index in enumerate(gathered.indices.tolist()):
        assert torch.equal(gathered.originals[place], split.inputs[index].float() / 255)
        assert torch.equal(gathered.adversarial[place], points[index])
        assert gathered.labels[place] == index % 3
    assert torch.equal(gathered.originals[0], gathered.adversarial[0])
    assert (gathered.images, gathered.weights) == (10, weights_hash(model))
    assert "torch" in gathered.environment


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threat", [Linf(8 / 255), L2(0.5, bounds=(-1.0, 2.0))])
def test_what_is_read_is_what_was_written(threat: Threat, dtype: torch.dtype, tmp_path: Path) -> None:
    gathered, *_ = bundle(threat, dtype)
    write_bundle(tmp_path / "a.safetensors", gathered)
    found = read_bundle(tmp_path / "a.safetensors")
    for field in fields(Bundle):
        before, after = getattr(gathered, field.name), getattr(found, field.name)
        if isinstance(before, Tensor):
            assert torch.equal(before, after)
            assert before.dtype == after.dtype
        else:
            assert before == after, field.name
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_memory_laid_out_otherwise_and_shared_is_written(tmp_path: Path) -> None:
    gathered, *_ = bundle()
    images = torch.rand(6, 3, 4, 4).to(memory_format=torch.channels_last)
    write_bundle(tmp_path / "a", replace(gathered, originals=images, adversarial=images))
    assert torch.equal(read_bundle(tmp_path / "a").adversarial, images)


def rewritten(path: Path, tensors: dict[str, Tensor] | None = None, about: dict[str, object] | None = None) -> None:
    """Change parts of a file by hand, leaving its hash as it was."""
    with safe_open(path, framework="pt") as file:
        header = dict(file.metadata())
        content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header["about"] = json.dumps(json.loads(header["about"]) | (about or {}))
    save_file(content | (tensors or {}), path, header)


@pytest.mark.parametrize(
    "change",
    [
        {"tensors": {"originals": torch.zeros(6, 1, 2, 2)}},
        {"tensors": {"adversarial": torch.zeros(6, 1, 2, 2)}},
        {"tensors": {"labels": torch.zeros(6, dtype=torch.int64)}},
        {"tensors": {"indices": torch.arange(6)}},
        {"about": {"claim": 0.99}},
        {"about": {"threat": {"norm": "linf", "radius": 1.0, "bounds": [0, 1]}}},
        {"about": {"images": 6}},
        {"about": {"classes": 10}},
        {"about": {"weights": "0000"}},
        {"about": {"data": {"name": "other", "split": "test", "fingerprint": "f00"}}},
        {"about": {"attacks": []}},
        {"about": {"seed": 5}},
        {"about": {"draws": 1}},
        {"about": {"environment": {}}},
    ],
    ids=lambda change: next(iter(next(iter(change.values())))),
)
def test_no_part_of_a_file_changes_unnoticed(change: dict[str, dict[str, object]], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_bundle(path, bundle()[0])
    rewritten(path)
    read_bundle(path)  # written again as it was, it is whole
    rewritten(path, **change)  # type: ignore[arg-type]  # one of the two
    with pytest.raises(CheckpointError, match=r"a\.safetensors is damaged"):
        read_bundle(path)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_bundle(path, bundle()[0])
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        read_bundle(path)


def test_files_that_are_no_bundle_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match=r"a\.safetensors cannot be read"):
        read_bundle(path)
    write_bundle(path, bundle()[0])
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        read_bundle(path)
    save_file({"weights": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=r"is no refutation.*got None"):
        read_bundle(path)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": torch.zeros(5, dtype=torch.int64)},
        {"labels": torch.zeros(6)},
        {"adversarial": torch.zeros(6, 4)},
        {"adversarial": torch.zeros(6, 1, 2, 2, dtype=torch.float64)},
        {"originals": torch.full((6, 1, 2, 2), 2.0)},
        {"images": 5},
        {"draws": 0},
        {"draws": 1.5},
        {"images": 50.5},
        {"data": ["name", "split"]},
        {"data": {"name": "ten", "split": ["test"]}},
        {"data": {"name": "ten"}},
        {"data": {"name": "ten\x1b[2J", "split": "test"}},
        {"originals": torch.full((6, 1, 2, 2), float("nan"))},
        {name: torch.zeros(0, 1, 2, 2) for name in ("originals", "adversarial")}
        | {name: torch.zeros(0, dtype=torch.int64) for name in ("labels", "indices")},
    ],
)
def test_a_bundle_of_what_does_not_belong_together_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    write_bundle(tmp_path / "a", replace(bundle()[0], **change))
    with pytest.raises(CheckpointError, match="does not hold a refutation"):
        read_bundle(tmp_path / "a")


def test_a_full_disk_leaves_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    write_bundle(path, bundle()[0])
    before = path.read_bytes()

    def full(_tensors: object, target: Path, _metadata: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(path, bundle(Linf(0.2))[0])
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a.safetensors"]
