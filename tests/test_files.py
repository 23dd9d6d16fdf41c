import os
from pathlib import Path

import pytest

from retemper.errors import CheckpointError
from retemper.files import check_writable, read_json, replacing, write_json, write_text


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "values.json", {"a": [1, 2.5, None]})
    assert read_json(tmp_path / "new" / "values.json") == {"a": [1, 2.5, None]}


def test_a_failure_in_the_middle_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    write_text(path, "before")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_nan_is_not_written_as_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "values.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b'{"a": [1, 2', b"", b"\xff\xfe\x00"])
def test_a_truncated_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cut.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cut\.json is damaged"):
        read_json(path)


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    write_text(tmp_path / "report.html", "<p>")
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o644


def test_what_cannot_be_written_is_known_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    check_writable(tmp_path / "new" / "found.json")
    check_writable(tmp_path / "file")
    assert list((tmp_path / "new").iterdir()) == []
    assert (tmp_path / "file").read_text() == "mine"
    for wrong in (tmp_path, tmp_path / "file" / "found.json"):
        with pytest.raises(OSError, match=r"folder|exists|Not a directory"):
            check_writable(wrong)


def test_what_a_link_points_to_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(pipe, "new")
        assert os.read(reader, 10) == b"new"
        check_writable(pipe)
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_what_is_written_to_a_descriptor_goes_there() -> None:
    """As `--json /dev/stdout` does in front of a pipe."""
    reader, writer = os.pipe()
    try:
        write_text(Path(f"/dev/fd/{writer}"), "new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
        os.close(writer)
