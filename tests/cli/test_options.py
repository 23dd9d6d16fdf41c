"""The names that the help texts list are those that there are."""

import pytest

from retemper.cli import options
from retemper.data import AUGMENTATIONS
from retemper.errors import SettingError
from retemper.evaluation import ATTACKS
from retemper.models import ACTIVATIONS, NETWORKS
from retemper.objectives import PRESETS
from retemper.training import OPTIMISERS, SCHEDULES
from retemper.training.precision import PRECISIONS


@pytest.mark.parametrize(
    ("option", "known"),
    [
        (options.Model, NETWORKS),
        (options.Activation, ACTIVATIONS),
        (options.Attacks, ATTACKS),
        (options.Optimiser, OPTIMISERS),
        (options.Schedule, SCHEDULES),
        (options.Augmentation, AUGMENTATIONS),
        (options.Precision, PRECISIONS),
    ],
)
def test_help_lists_every_name(option, known) -> None:  # type: ignore[no-untyped-def]
    (annotation,) = option.__metadata__
    for name in known:
        assert name in annotation.help, name


@pytest.mark.parametrize("command", ["compare", "train"])
def test_help_lists_every_objective(command: str) -> None:
    from typer.main import get_command

    from retemper.cli.app import app

    parameters = get_command(app).commands[command].params  # type: ignore[attr-defined]
    (help_text,) = [parameter.help for parameter in parameters if parameter.name in ("objectives", "objective")]
    for name in PRESETS:
        assert name in help_text, name


def test_names_are_read_with_spaces_and_empty_ones_left_out() -> None:
    assert options.names(" airplane, horse,") == ("airplane", "horse")
    assert options.names("") == ()


def test_numbers_are_read_and_anything_else_is_refused() -> None:
    assert options.numbers(" 0.01, 2,1/4") == (0.01, 2.0, 0.25)
    for text in ("", "0.1;0.2", "high", "nan", "1/0", "1e999"):
        with pytest.raises(SettingError, match="numbers separated by commas"):
            options.numbers(text)
