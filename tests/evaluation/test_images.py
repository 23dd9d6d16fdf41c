from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from retemper.data import Split
from retemper.data.splits import Batch
from retemper.evaluation import evaluate, plan
from retemper.evaluation.images import Images, divided
from retemper.threats import Linf

CPU = torch.device("cpu")


@given(st.integers(1, 40), st.integers(1, 45))
def test_chunks_are_neighbours_of_a_fixed_size_but_the_last(images: int, size: int) -> None:
    chunks = divided(images, size)
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert [place for chunk in chunks for place in range(chunk.start, chunk.stop)] == list(range(images))
    assert {len(chunk) for chunk in chunks[:-1]} <= {size}
    assert 1 <= len(chunks[-1]) <= size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_images_come_as_the_model_takes_them(dtype: torch.dtype, layout: torch.memory_format) -> None:
    bytes_ = torch.arange(7 * 2 * 3 * 3, dtype=torch.uint8).view(7, 2, 3, 3)
    split = Split(bytes_, torch.arange(7))
    images = Images(split, CPU, dtype, layout)
    for some in (images.of(divided(7, 3)[1]), images.at(torch.tensor([3, 4, 5]))):
        assert torch.equal(some.inputs, (bytes_[3:6].float() / 255).to(dtype))
        assert some.inputs.is_contiguous(memory_format=layout)
        assert some.labels.tolist() == some.places.tolist() == [3, 4, 5]


def test_what_is_done_to_them_does_not_reach_the_split() -> None:
    split = Split(torch.rand(4, 2), torch.zeros(4, dtype=torch.int64))
    before = split.inputs.clone()
    images = Images(split, CPU, torch.float32)
    for some in (images.of(divided(4, 2)[0]), images.at(torch.tensor([0, 3]))):
        some.inputs.zero_()
        some.labels.fill_(1)
    assert torch.equal(split.inputs, before)
    assert split.labels.tolist() == [0] * 4


def test_no_more_than_a_chunk_of_images_is_loaded_at_once(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    ordinary = Split.batch

    def batch(self: Split, index: Tensor | slice) -> Batch:
        inputs, labels = ordinary(self, index)
        loaded.append(len(inputs))
        return inputs, labels

    monkeypatch.setattr(Split, "batch", batch)
    evaluate(small.model, small.split, Linf(0.05), attacks=plan(["fgsm"]), alarms=False, batch_size=4, progress=False)
    assert max(loaded) == 4
    assert sum(loaded) >= 2 * len(small.split)
