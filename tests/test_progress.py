import pytest

from retemper.progress import progress_line


def test_nothing_is_printed_where_it_is_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_line("training", 3, shown=False) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")


def test_the_line_goes_to_standard_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress_line("training", 4, 1, shown=True) as advance:
        advance(2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "training" in captured.err
    assert "3/4" in captured.err
