"""The digits that scikit-learn carries: real data with no download."""

import torch

from retemper.data.found import Found
from retemper.data.splits import Split


def read_digits() -> Found:
    """Read the 1,797 handwritten digits of 8x8 pixels (Alpaydin & Kaynak 1998, the UCI test part)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    # The pixels count inked points in blocks of 4x4 and so go from 0 to 16.
    inputs = torch.from_numpy(digits.images / 16).float().unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
    return Found({"train": Split(inputs, labels)}, tuple(str(digit) for digit in range(10)))
