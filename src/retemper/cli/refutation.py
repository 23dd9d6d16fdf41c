"""What `retemper evaluate` keeps of a refutation, for anyone to recheck."""

from pathlib import Path

import torch
from torch import nn

from retemper.data import Split
from retemper.evaluation import Bundle, Claim, Evaluation, write_bundle
from retemper.models import logits
from retemper.models.inference import device_of, evaluation_mode


def keep_refutation(
    folder: Path, claim: Claim, evaluation: Evaluation, network: nn.Module, split: Split, data: dict[str, str]
) -> Path:
    """Write every image that fell at a claim's threat, and what it became, to `refutation.safetensors` in a folder.

    Args:
        folder: where to.
        claim: what they speak against; its threat is one of those that were evaluated.
        evaluation: of the network, on the whole split.
        network: what was attacked.
        split: the images.
        data: name, split and fingerprint of the data.

    Raises:
        OSError: the folder cannot be written.
    """
    norm = (claim.threat.norm, claim.threat.bounds)
    points = next(curve.points for curve in evaluation.curves if (curve.norm, curve.bounds) == norm)
    inputs, _ = split.batch(slice(0, 1))
    # A factory may leave a network in training mode, in which a look would move its running statistics.
    with evaluation_mode(network), torch.no_grad():
        classes = logits(network, inputs.to(device_of(network), points.dtype)).shape[1]
    bundle = Bundle.of(
        network,
        split,
        points,
        torch.tensor(evaluation.at(claim.threat).standing),
        claim,
        classes=classes,
        data=data,
        attacks=evaluation.attacks,
        seed=evaluation.seed,
        draws=evaluation.draws,
    )
    path = folder / "refutation.safetensors"
    write_bundle(path, bundle)
    return path
