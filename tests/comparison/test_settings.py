import shlex

import pytest

from retemper.comparison import Comparison
from retemper.errors import SettingError
from retemper.threats import Linf


def test_the_command_repeats_the_comparison() -> None:
    comparison = Comparison(
        data="mnist", classes=("3", "8"), threats=("linf:0.1,0.2", "l2:1.5"), objectives=("plain", "entropic:0.05"),
        seeds=5, learning_rate=0.01,
    )  # fmt: skip
    words = shlex.split(comparison.command())
    assert words[:2] == ["retemper", "compare"]
    options = list(zip(words[2::2], words[3::2], strict=True))
    assert ("--threat", "linf:0.1,0.2") in options
    assert ("--threat", "l2:1.5") in options
    assert dict(options)["--classes"] == "3,8"
    assert dict(options)["--objectives"] == "plain,entropic:0.05"
    assert dict(options)["--seeds"] == "5"
    assert "--epochs" not in dict(options)  # at its default


def test_adversarial_training_is_against_the_largest_radius_of_the_first_threat() -> None:
    comparison = Comparison(threats=("linf:0.1,0.3,0.2", "l2:5"))
    assert comparison.training_threat() == Linf(0.3)
    assert Comparison(threats=("l2:1",), train_threat="linf:0.2").training_threat() == Linf(0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "`seeds` to be 1 or more, but got 0"),
        ({"images": 0}, "`images` to be 1 or more"),
        ({"objectives": ()}, "one or more different objectives"),
        ({"objectives": ("plain", "plain")}, "one or more different objectives"),
        ({"objectives": ("plian",)}, "objective out of plain, entropic"),
        ({"objectives": ("entropic:heavy",)}, "entropic:WEIGHT"),
        ({"threats": ()}, "one or more threats"),
        ({"threats": ("linf:-0.1",)}, "positive"),
        ({"threats": ("l1:0.1",)}, "Expected a threat such as"),
        ({"threats": ("linf:0.1", "linf:1/10")}, "different threats"),
        ({"attacks": ("autoattack",)}, "autoattack"),
        ({"optimiser": "lion"}, "`optimiser`"),
        ({"epochs": 0}, "`epochs`"),
    ],
)
def test_what_is_wrong_is_found_before_anything_runs(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Comparison(**options)
