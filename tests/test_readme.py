"""What the README shows runs as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", range(4))
def test_the_python_runs(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 4
    exec(compile(blocks[number], f"README.md, block {number}", "exec"), {})
    if number == 0:
        assert "linf:0.1" in capsys.readouterr().out


def test_every_command_and_option_is_known() -> None:
    from typer.main import get_command

    from retemper.cli.app import app

    shown = re.findall(r"^retemper (.*)$", README, flags=re.MULTILINE)
    assert len(shown) >= 5
    for line in shown:
        command: Any = get_command(app)
        words = iter(line.split())
        while hasattr(command, "commands"):
            command = command.commands[next(words)]
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options


def test_what_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_alarm_is_explained() -> None:
    import torch
    from torch import nn

    from retemper.evaluation.alarms import sound
    from retemper.noise import Noise
    from retemper.threats import Linf

    inputs = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    model = nn.Linear(6, 3)
    labels = model(inputs).argmax(1)
    alarms = sound(model, inputs, labels, labels >= 0, Linf(0.01), Noise.for_batch(inputs))
    table = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert len(alarms) == 12
    for alarm in alarms:
        assert f"| {alarm.name} |" in table
