"""What the README shows runs as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", range(2))
def test_the_python_runs(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 2
    exec(compile(blocks[number], f"README.md, block {number}", "exec"), {})
    if number == 0:
        assert "linf:0.1" in capsys.readouterr().out


def test_every_command_and_option_is_known() -> None:
    from typer.main import get_command

    from retemper.cli.app import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    shown = re.findall(r"^retemper (\w+)(.*)$", README, flags=re.MULTILINE)
    assert len(shown) >= 5
    for name, rest in shown:
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= options


def test_what_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
