"""The profile of a network: what each layer's output keeps, beside what it could keep at most."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from retemper.activations import Layers, record
from retemper.checks import as_seed, is_a
from retemper.errors import DataError, SettingError
from retemper.information.layer_profile import LayerProfile
from retemper.information.resampling import weights
from retemper.information.streaming import LayerStream
from retemper.models import evaluation_mode, logits
from retemper.models.inference import check_finite, device_of

_LEAST_REPLICATES = 40  # so that one lies beyond each end of an interval at 95 %


def profile(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    layers: Layers = "all",
    *,
    gram_images: int = 1000,
    replicates: int = 200,
    seed: int = 0,
) -> list[LayerProfile]:
    """Measure every chosen layer of a model, in evaluation mode, over batches of (inputs, labels).

    Images stream by. What is held, in float32, is each layer's outputs on the first `gram_images` (400 MB for 1,000
    images of 100,000 activations), on one batch, and one number a unit and replicate (80 MB).

    Intervals are those of a percentile bootstrap over images, at 95 %. They say where a figure would lie over as many
    other images, not over all images there are: with more of them the unit entropy, the Renyi entropy and the
    effective rank grow. The last two are linearised: `retemper.information.gram` says why.

    Args:
        model: whose nonlinearities are modules, or whose layers are named.
        batches: of any size. Images in another order give the same figures, if the first `gram_images` are the same.
        layers: which.
        gram_images: over how many images, the first, the Renyi entropy and the effective rank are taken: they compare
            all images with one another.
        replicates: of the bootstrap; 0 for no intervals.
        seed: of the bootstrap; torch's global generator is not used. Profiles of the same images with the same seed
            are resampled alike, so that their difference has a paired interval.

    Raises:
        DataError: there is no image.
        SettingError: `gram_images` or `replicates` is too small, a seed outside [0, 2**32), or no batches.
        LayerError: no layer fits, the model's nonlinearities cannot be seen from outside, or an output has not one
            row an image.
        ModelError: a logit is NaN or infinite.
    """
    if gram_images < 2 or 0 < replicates < _LEAST_REPLICATES or replicates < 0:
        raise SettingError(
            f"Expected `gram_images` of 2 or more and `replicates` of 0, for no intervals, or {_LEAST_REPLICATES} or "
            f"more, but got {gram_images} and {replicates}."
        )
    seed = as_seed(seed)
    is_a(Iterable, "pass batches of a split, such as data.test.batches(256)", batches=batches)
    streams: dict[str, LayerStream] = {}
    device, images = device_of(model), 0
    with evaluation_mode(model), torch.no_grad(), record(model, layers) as activations:
        for inputs, _labels in batches:
            activations.clear()
            check_finite(model, logits(model, inputs.to(device, copy=True)))
            drawn = weights(torch.arange(images, images + len(inputs)), replicates, seed)
            images += len(inputs)
            for name, output in activations.items():
                if name not in streams:
                    streams[name] = LayerStream(name, output, 1 + replicates, gram_images)
                streams[name].add(output, drawn)
    if images == 0:
        raise DataError("Expected at least one image to profile, but got none.")
    return [stream.finish() for stream in streams.values()]
