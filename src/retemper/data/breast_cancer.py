"""The breast cancer table that scikit-learn carries: real vectors with no download."""

import torch

from retemper.data.found import Found
from retemper.data.splits import Split


def read_breast_cancer() -> Found:
    """Read 30 features of the cell nuclei of 569 tumours (Street et al. 1993), still in the units they come in."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    split = Split(torch.from_numpy(table.data).float(), torch.from_numpy(table.target).long())
    return Found({"train": split}, tuple(table.target_names.tolist()))
