import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from retemper.data.cache import cache_folder, cached, files_identity
from retemper.data.found import Found
from retemper.data.splits import Split
from retemper.errors import DataError


class Source:
    """Something slow to decode, which counts how often it is."""

    def __init__(self) -> None:
        self.decoded = 0

    def __call__(self) -> Found:
        self.decoded += 1
        inputs = torch.randint(256, (6, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
        split = Split(inputs, torch.tensor([0, 1, 0, 1, 0, 1]))
        return Found(
            {"train": split, "test": Split(inputs[:2].clone(), split.labels[:2].clone())},
            ("a", "b"),
            "a note",
        )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETEMPER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(one: Found, other: Found) -> bool:
    return (one.classes, one.note, one.splits.keys()) == (
        other.classes,
        other.note,
        other.splits.keys(),
    ) and all(
        torch.equal(one.splits[role].inputs, other.splits[role].inputs)
        and torch.equal(one.splits[role].labels, other.splits[role].labels)
        for role in one.splits
    )


def test_second_load_is_the_same_and_decodes_nothing() -> None:
    source = Source()
    first, second = cached("x", source), cached("x", source)
    assert source.decoded == 1
    assert same(first, second)


def test_another_identity_is_decoded_anew() -> None:
    source = Source()
    cached("x", source)
    cached(["x"], source)
    assert source.decoded == 2


def damage_nothing_left(content: bytes) -> bytes:
    return b""


def damage_end(content: bytes) -> bytes:
    return content[:-5]


def damage_header(content: bytes) -> bytes:
    return content[:8] + b"?" * 50 + content[58:]


def damage_pixel(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


def damage_note(content: bytes) -> bytes:
    return content.replace(b"a note", b"a nose")


@pytest.mark.parametrize(
    "damage",
    [damage_nothing_left, damage_end, damage_header, damage_pixel, damage_note],
    ids=lambda f: f.__name__,
)
def test_damaged_file_is_made_anew(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    source = Source()
    first = cached("x", source)
    (file,) = (folder / "decoded").iterdir()
    whole = file.read_bytes()
    assert damage(whole) != whole
    file.write_bytes(damage(whole))
    assert same(cached("x", source), first)
    assert source.decoded == 2
    assert same(cached("x", source), first)
    assert source.decoded == 2
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_damaged_file_is_deleted_even_if_the_source_is_gone(folder: Path) -> None:
    def gone() -> Found:
        raise DataError("gone")

    cached("x", Source())
    (file,) = (folder / "decoded").iterdir()
    file.write_bytes(b"")
    with pytest.raises(DataError, match="gone"):
        cached("x", gone)
    assert not file.exists()


def test_file_of_another_origin_is_made_anew(folder: Path) -> None:
    from safetensors.torch import save_file

    source = Source()
    cached("x", source)
    (file,) = (folder / "decoded").iterdir()
    save_file({"weight": torch.ones(3)}, file)
    cached("x", source)
    assert source.decoded == 2


def test_cache_that_cannot_be_written_is_a_warning(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    source = Source()
    for _ in range(2):
        with pytest.warns(UserWarning, match="could not be kept in .*set RETEMPER_CACHE"):
            assert same(cached("x", source), source())
    assert source.decoded == 4


def test_full_disk_is_a_warning_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", no_room)
    with pytest.warns(UserWarning, match="No space left"):
        cached("x", Source())
    assert list((folder / "decoded").iterdir()) == []


def test_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RETEMPER_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "ours"
    monkeypatch.delenv("RETEMPER_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "retemper"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / "home" / ".cache" / "retemper"


def test_identity_of_files_sees_new_content_names_and_times(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "train").mkdir(parents=True)
    file = data / "train" / "1.png"
    file.write_bytes(b"1")
    os.utime(file, ns=(0, 0))
    seen = [files_identity(data)]
    os.utime(file, ns=(0, 1))
    seen.append(files_identity(data))
    file.write_bytes(b"22")
    seen.append(files_identity(data))
    (data / "train" / "2.png").write_bytes(b"")
    seen.append(files_identity(data))
    file.rename(data / "3.png")
    seen.append(files_identity(data))
    assert all(one != other for index, one in enumerate(seen) for other in seen[:index])
    assert files_identity(data / "3.png") == [[str(data / "3.png"), 2, (data / "3.png").stat().st_mtime_ns]]
