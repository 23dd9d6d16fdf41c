"""Readers that leave early, as `head` does: the exit status still says what was found."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
from retemper.cli.terminal import Terminal

terminal = Terminal()
for line in range(10_000):
    terminal.print("line", line)
raise SystemExit(4)
"""


def status(command: list[str]) -> int:
    """Of a command whose reader has left before it prints anything."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert "BrokenPipe" not in errors
    return process.returncode


def test_the_exit_status_is_the_commands_own() -> None:
    assert status([sys.executable, "-c", SCRIPT]) == 4


def test_a_verdict_is_not_taken_for_another_one_and_files_are_written(tmp_path: Path) -> None:
    weights, written = tmp_path / "run" / "model.safetensors", tmp_path / "found.json"
    retemper = [sys.executable, "-m", "retemper"]
    train = [*retemper, "train", "--model", "mlp", "--epochs", "2", "--out", str(tmp_path / "run"), "--no-progress"]
    assert subprocess.run(train, capture_output=True).returncode == 0
    claim = ["--claim", "0.05@linf:0.001", "--images", "60", "--no-alarms", "--budget", "quick", "--no-progress"]
    assert status([*retemper, "evaluate", str(weights), *claim, "--json", str(written)]) == 0
    assert json.loads(written.read_text())["verdict"]["verdict"] == "not refuted"
