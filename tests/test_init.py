import subprocess
import sys

import pytest

import retemper


def test_every_public_name_is_there() -> None:
    for name in retemper.__all__:
        assert getattr(retemper, name) is not None
    assert sorted(retemper.__all__) == sorted(dir(retemper))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = retemper.nonesuch


@pytest.mark.parametrize("statement", ["import retemper", "import retemper.cli"])
def test_importing_stays_quick(statement: str) -> None:
    """Not a matter of time but of what is imported: torch and the rest wait for their first use."""
    heavy = ("torch", "accelerate", "datasets", "sklearn", "scipy", "matplotlib", "jinja2", "pandas")
    code = f"{statement}; import sys; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"


def test_the_rooms_are_there_after_one_import() -> None:
    code = "import retemper; print(retemper.models.Normalise.__name__, retemper.attacks.pgd.__name__)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["Normalise", "pgd"]
