from collections.abc import Iterator

import pytest
import torch

from retemper.models.float32 import exact_float32


@pytest.fixture
def as_it_was() -> Iterator[None]:
    yield
    torch.backends.cuda.matmul.fp32_precision = "none"
    torch.backends.mkldnn.matmul.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True


@pytest.mark.usefixtures("as_it_was")
@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_inside_there_is_no_shortcut_and_afterwards_there_is_what_was(precision: str) -> None:
    torch.set_float32_matmul_precision(precision)
    inside = []

    @exact_float32()
    def fails() -> None:
        inside.extend([torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32])
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert inside == ["highest", False]
    assert torch.get_float32_matmul_precision() == precision
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.usefixtures("as_it_was")
@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="this PyTorch has the older names alone")
def test_what_was_set_by_the_newer_names_is_put_back_by_them() -> None:
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    matmul.fp32_precision = "tf32"
    with exact_float32():
        assert (matmul.fp32_precision, convolution.fp32_precision) == ("ieee", "ieee")
    assert (matmul.fp32_precision, convolution.fp32_precision) == ("tf32", "tf32")
