import subprocess
import sys

import pytest
import torch
from torch import nn

from retemper.errors import LayerError
from retemper.information import profile
from retemper.information.streaming import LayerStream

# Runs by itself, so that the peak is its own: a layer of many units, images that are made as they are shown.
_PEAKS = """
import torch
from torch import nn
from retemper.information import profile

torch.set_num_threads(1)
units = 10_000
model = nn.Sequential(nn.Linear(2, units), nn.ReLU(), nn.Linear(units, 2))
for batches in (3, 28):
    shown = ((torch.rand(100, 2), None) for _ in range(batches))
    (layer,) = profile(model, shown, gram_images=200, replicates=40)
    assert (layer.images, layer.gram_images, layer.units) == (100 * batches, 200, units)
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_number_of_images() -> None:
    output = subprocess.run([sys.executable, "-c", _PEAKS], capture_output=True, text=True, check=True).stdout
    few, many = (int(line) / 1024 for line in output.split())
    # Had they been kept, the outputs of 2,500 more images would have taken 95 MB.
    assert many - few < 50


class Patches(nn.Module):
    """Cuts images into four, and puts them together again."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.last = nn.ReLU(), nn.Linear(8, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(self.cut(inputs.reshape(-1, 2)).reshape(-1, 8))


def test_a_layer_without_one_row_an_image_is_an_error() -> None:
    with pytest.raises(LayerError, match=r"layer 'cut' .* each of 3 images, but got shape \(12, 2\)"):
        profile(Patches(), [(torch.rand(3, 8), torch.zeros(3))])


def test_rows_of_another_length_are_an_error() -> None:
    stream = LayerStream("act", torch.rand(2, 5), columns=1, gram_images=10)
    stream.add(torch.rand(2, 5), torch.ones(2, 1))
    with pytest.raises(LayerError, match=r"5 numbers for each of 2 images, but got shape \(2, 6\)"):
        stream.add(torch.rand(2, 6), torch.ones(2, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_outputs_of_any_float_are_measured(dtype: torch.dtype) -> None:
    rows = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    streams = [LayerStream("act", rows, columns=1, gram_images=10) for _ in range(2)]
    streams[0].add(rows, torch.ones(6, 1))
    streams[1].add(rows.float(), torch.ones(6, 1))
    assert streams[0].finish() == streams[1].finish()


def test_one_number_an_image_is_a_layer_too() -> None:
    stream = LayerStream("score", torch.rand(6), columns=1, gram_images=10)
    stream.add(torch.arange(6.0), torch.ones(6, 1))
    layer = stream.finish()
    assert (layer.units, layer.active) == (1, 5 / 6)
    assert layer.effective_rank == pytest.approx(1)
