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


@pytest.mark.parametrize(("amx", "avx512"), [(True, False), (False, True), (False, False)])
def test_either_kind_of_instructions_for_bf16_will_do(amx: bool, avx512: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    assert precision.resolve("auto", CPU, (3, 32, 32)) == ("bf16" if amx or avx512 else "fp32")


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_what_is_asked_for_is_taken(asked: str) -> None:
    assert precision.resolve(asked, CPU, (3, 32, 32)) == asked


def test_autocast_computes_in_the_precision_that_it_names() -> None:
    left, right = torch.rand(2, 3), torch.rand(3, 2)
    with precision.autocast("bf16", CPU):
        assert (left @ right).dtype == torch.bfloat16
    with precision.autocast("fp32", CPU):
        assert (left @ right).dtype == torch.float32
