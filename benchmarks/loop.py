"""What `retemper.retrain` adds to a bare PyTorch loop with the same batches and precision.

The entropic paper's network, 25 steps of batch 128 on random images, 3x32x32, bf16 where it pays.
"""

import torch

from benchmarks.figures import Figure, figure, seconds
from benchmarks.step import BATCH, CLASSES, SHAPE
from retemper.data import Data, Split
from retemper.models import create
from retemper.objectives import CrossEntropy
from retemper.training import retrain
from retemper.training.precision import autocast, resolve

STEPS = 25


def run(repeats: int) -> list[Figure]:
    """Time of the epoch in `retrain` over the time of the same epoch in a bare loop."""
    data = _data()
    precision = resolve("auto", torch.device("cpu"), SHAPE)
    _ours(data, precision), _bare(data, precision)
    ratios = []
    for repeat in range(max(2, repeats // 3)):
        if repeat % 2:
            ours, peer = _ours(data, precision), _bare(data, precision)
        else:
            peer, ours = _bare(data, precision), _ours(data, precision)
        ratios.append(ours / peer)
    labels = (f"retrain(), {STEPS} steps, {precision}", "bare PyTorch loop")
    return [figure("loop_overhead", ratios, labels)]


def _data() -> Data:
    generator = torch.Generator().manual_seed(0)

    def split(images: int) -> Split:
        inputs = torch.randint(256, (images, *SHAPE), generator=generator).to(torch.uint8)
        return Split(inputs, torch.arange(images) % CLASSES)

    classes = tuple(str(number) for number in range(CLASSES))
    return Data(name="random", train=split(STEPS * BATCH), validation=split(20), test=split(20), classes=classes)


def _ours(data: Data, precision: str) -> float:
    """The seconds that `retrain` reports for its steps; validation is not part of a bare loop either."""
    torch.manual_seed(0)
    model = create("entropic-cnn", shape=SHAPE, classes=CLASSES)
    return retrain(model, data, CrossEntropy(), epochs=1, precision=precision, progress=True).seconds


def _bare(data: Data, precision: str) -> float:
    torch.manual_seed(0)
    model = create("entropic-cnn", shape=SHAPE, classes=CLASSES)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub forgets it
    optimiser = torch.optim.Adam(model.parameters())
    cross_entropy = torch.nn.CrossEntropyLoss()

    def epoch() -> None:
        for index in torch.randperm(len(data.train)).split(BATCH):
            inputs = (data.train.inputs[index].float() / 255).contiguous(memory_format=torch.channels_last)
            with autocast(precision, inputs.device):
                loss = cross_entropy(model(inputs), data.train.labels[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return seconds(epoch)
