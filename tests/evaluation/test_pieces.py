import json
from pathlib import Path
from typing import Any

import pytest
import torch

from retemper.errors import CheckpointError
from retemper.evaluation.pieces import KINDS, Piece, Pieces

IDENTITY = {"seed": 0, "threats": [["linf:0.1", (0.0, 1.0)]]}


def never() -> Piece:
    pytest.fail("computed again")


def a_piece() -> Piece:
    points = torch.rand(2, 3, 4, 4, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    return Piece({"points": points, "none": torch.zeros(0, 2)}, [{"apgd": 1}, None])


def assert_same(ours: Piece, theirs: Piece) -> None:
    assert ours.facts == theirs.facts
    assert ours.tensors.keys() == theirs.tensors.keys()
    for name, tensor in ours.tensors.items():
        assert torch.equal(tensor, theirs.tensors[name])
        assert tensor.dtype == theirs.tensors[name].dtype


def test_a_piece_is_computed_once_and_read_back_the_same(tmp_path: Path) -> None:
    written = a_piece()
    assert_same(Pieces(tmp_path, IDENTITY, resume=True).piece("one", lambda: written), written)
    assert_same(Pieces(tmp_path, IDENTITY, resume=True).piece("one", never), written)


def test_a_piece_without_tensors_is_read_back(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path, IDENTITY, resume=True)
    pieces.piece("facts", lambda: Piece({}, ["an alarm"]))
    assert pieces.piece("facts", never) == Piece({}, ["an alarm"])


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pieces = Pieces(None, IDENTITY, resume=True)
    calls = []
    for _ in range(2):
        pieces.piece("one", lambda: calls.append(1) or a_piece())
    assert len(calls) == 2
    assert list(tmp_path.iterdir()) == []


def test_what_was_cut_short_while_it_was_computed_is_no_piece(tmp_path: Path) -> None:
    def killed() -> Piece:
        raise KeyboardInterrupt

    pieces = Pieces(tmp_path, IDENTITY, resume=True)
    with pytest.raises(KeyboardInterrupt):
        pieces.piece("one", killed)
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


def test_begun_anew_nothing_is_read_back(tmp_path: Path) -> None:
    kept = Pieces(tmp_path, IDENTITY, resume=True)
    for kind in KINDS:
        kept.piece(f"{kind}-1", a_piece)
    for mine in ("notes.txt", "model.safetensors", "refutation.safetensors"):
        (tmp_path / mine).write_text("mine")
    other = {"seed": 1}
    fresh = a_piece()
    anew = Pieces(tmp_path, other, resume=False)
    assert not any(anew.holds(f"{kind}-1") for kind in KINDS)
    assert_same(anew.piece("chunk-1", lambda: fresh), fresh)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == other
    for mine in ("notes.txt", "model.safetensors", "refutation.safetensors"):
        assert (tmp_path / mine).read_text() == "mine"


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ({"seed": 0, "curve": True}, {"seed": 1, "curve": True}, r"differs in seed \(was 0, is 1\)\. "),
        (
            {"seed": 0, "curve": True},
            {"seed": 1, "curve": False},
            r"differs in seed \(was 0, is 1\), curve \(was true, is false\)\. ",
        ),
        ({"seed": 0}, {"seed": 0, "curve": False}, r"differs in curve\. "),
        ({"seed": 0, "curve": False}, {"seed": 0}, r"differs in curve\. "),
        (["a list"], {"seed": 0}, r"differs in seed\. "),
    ],
)
def test_another_evaluation_is_refused_by_name_of_what_differs(
    tmp_path: Path, before: Any, now: dict[str, Any], words: str
) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps(before))
    with pytest.raises(CheckpointError, match=words) as error:
        Pieces(tmp_path, now, resume=True)
    assert str(tmp_path) in str(error.value)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == before


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"{" * 99])
def test_a_damaged_piece_is_named(tmp_path: Path, damage: Any) -> None:
    pieces = Pieces(tmp_path, IDENTITY, resume=True)
    pieces.piece("one", a_piece)
    path = tmp_path / "one.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"one\.safetensors is damaged.*Delete it"):
        pieces.piece("one", never)


def test_a_foreign_file_is_no_piece(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    pieces = Pieces(tmp_path, IDENTITY, resume=True)
    save_file({"points": torch.zeros(3)}, tmp_path / "one.safetensors")
    with pytest.raises(CheckpointError, match=r"one\.safetensors"):
        pieces.piece("one", never)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text('{"seed"')
    with pytest.raises(CheckpointError, match=r"evaluation\.json"):
        Pieces(tmp_path, IDENTITY, resume=True)


def test_pieces_of_which_nothing_says_whose_they_are_are_not_read_back(tmp_path: Path) -> None:
    Pieces(tmp_path, IDENTITY, resume=True).piece("chunk-1", a_piece)
    (tmp_path / "evaluation.json").unlink()
    with pytest.raises(CheckpointError, match=r"chunk-1.safetensors, but no evaluation.json.*--no-resume"):
        Pieces(tmp_path, {"seed": 1}, resume=True)
    assert not Pieces(tmp_path, {"seed": 1}, resume=False).holds("chunk-1")
