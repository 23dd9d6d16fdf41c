import pytest
import torch

from retemper.training import precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("shape", "units", "expected"),
    [
        ((3, 32, 32), True, "bf16"),
        ((3, 32, 32), False, "fp32"),
        ((1, 8, 8), True, "fp32"),  # too small to pay
        ((784,), True, "fp32"),
    ],
)
def test_auto_is_bf16_where_it_pays(
    shape: tuple[int, ...], units: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_has_bf16_units", lambda _device: units)
    assert precision.resolve("auto", CPU, shape) == expected


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_what_is_asked_for_is_taken(asked: str) -> None:
    assert precision.resolve(asked, CPU, (3, 32, 32)) == asked


def test_autocast_computes_in_the_precision_that_it_names() -> None:
    left, right = torch.rand(2, 3), torch.rand(3, 2)
    with precision.autocast("bf16", CPU):
        assert (left @ right).dtype == torch.bfloat16
    with precision.autocast("fp32", CPU):
        assert (left @ right).dtype == torch.float32
