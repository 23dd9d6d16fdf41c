import os
from pathlib import Path

import pytest

from retemper.errors import CheckpointError
from retemper.studies import clocked as module
from retemper.studies.clocked import clocked


class Clock:
    """Stands still until it is told to go on, and gives files its own time."""

    def __init__(self, folder: Path) -> None:
        self.now, self.folder = 1000.0, folder

    def write(self, name: str, after: float) -> None:
        self.now += after
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("done")
        os.utime(path, (self.now, self.now))


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(tmp_path / "work")
    monkeypatch.setattr(module, "time", lambda: clock.now)
    return clock


def test_work_that_has_ended_tells_its_first_time_again(clock: Clock) -> None:
    def work() -> str:
        clock.now += 7
        return "found"

    assert clocked(clock.folder, work) == ("found", 7)
    clock.now += 100
    assert clocked(clock.folder, work) == ("found", 7)


def test_killed_runs_count_up_to_their_last_file(clock: Clock) -> None:
    def killed(seconds: float) -> None:
        clock.write(f"part/{seconds}", seconds)
        clock.now += 50
        raise KeyboardInterrupt

    for seconds in (3, 4):
        with pytest.raises(KeyboardInterrupt):
            clocked(clock.folder, lambda seconds=seconds: killed(seconds))
        # What the clock itself wrote has the time of this test's machine; give it that of the run.
        os.utime(clock.folder / "clock.json", (clock.now - 50 - seconds,) * 2)
        clock.now += 1000
    assert clocked(clock.folder, lambda: clock.write("end", 5)) == (None, 3 + 4 + 5)
    assert clocked(clock.folder, lambda: clock.write("read back", 9)) == (None, 3 + 4 + 5)


def test_a_run_that_was_killed_before_it_kept_anything_counts_nothing(clock: Clock) -> None:
    def killed() -> None:
        clock.now += 50
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clocked(clock.folder, killed)
    os.utime(clock.folder / "clock.json", (999, 999))
    assert clocked(clock.folder, lambda: clock.write("end", 5)) == (None, 5)


def test_a_damaged_clock_is_named(tmp_path: Path) -> None:
    (tmp_path / "clock.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"clock\.json is damaged"):
        clocked(tmp_path, lambda: None)
