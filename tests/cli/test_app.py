from collections.abc import Callable

import pytest

from retemper.cli import app
from retemper.errors import SettingError


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (SettingError("Expected this."), 2, "error: Expected this."),
        (OSError("no room"), 2, "no room. What was there before is still there."),
        (KeyError("of ours"), 70, "fault of retemper, and says nothing of the network"),
        (SystemExit(130), 130, "The same command goes on where it was"),
        (SystemExit(4), 4, ""),
    ],
)
def test_what_fails_has_a_status_that_no_verdict_has(
    error: BaseException, status: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "app", raising(error))
    with pytest.raises(SystemExit) as left:
        app.main()
    assert left.value.code == status
    said = capsys.readouterr().err
    assert words in said
    assert ("Traceback" in said) == (status == app.FAULT)
