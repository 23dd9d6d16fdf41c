"""Features in units of their own, brought into [0, 1] without a look at what they are evaluated on."""

from dataclasses import replace

import torch

from retemper.data.splits import Data, Split


def scaled(data: Data) -> Data:
    """Map each feature's minimum over train to 0 and its maximum to 1; what lies beyond in the other splits is clipped.

    A feature that is constant over train becomes 0 in every split.
    """
    low, high = data.train.inputs.amin(0), data.train.inputs.amax(0)
    span = torch.where(high > low, high - low, torch.inf)

    def unit(split: Split) -> Split:
        return Split(((split.inputs - low) / span).clamp(0, 1), split.labels)

    return replace(data, train=unit(data.train), validation=unit(data.validation), test=unit(data.test))
