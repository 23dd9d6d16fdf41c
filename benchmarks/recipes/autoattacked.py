"""What the official AutoAttack leaves, up to an hour a network: kept as it goes, so that a killed run goes on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import nn

from retemper.data import Split
from retemper.evaluation.reference import autoattack
from retemper.files import read_json, write_json
from retemper.threats import Threat

CHUNK = 100  # images between one keeping and the next: one minute to fifteen


def left(
    model: Callable[[], nn.Module],
    split: Split,
    threat: Threat,
    standing: Bool[np.ndarray, " images"],
    written: Path,
) -> Bool[np.ndarray, " images"]:
    """Of the first images of a split, those that are `standing` and that it leaves so; the others are broken already.

    Args:
        model: asked for before every chunk, so that a finished run needs none.
        split: that `standing` speaks of the first images of.
        threat: with bounds of [0, 1].
        standing: what other attacks left.
        written: read back, and written after every chunk.
    """
    if written.is_file():
        kept = read_json(written)
    else:
        kept = {"standing": [None if stands else False for stands in standing.tolist()], "seconds": 0.0}
    # What other attacks have broken since is broken, whatever was kept.
    kept["standing"] = [stands if may else False for stands, may in zip(kept["standing"], standing, strict=True)]
    to_face = [place for place, stands in enumerate(kept["standing"]) if stands is None]
    for start in range(0, len(to_face), CHUNK):
        faced = to_face[start : start + CHUNK]
        reference = autoattack(model(), Split(*split.batch(torch.tensor(faced))), threat)
        for place, stands in zip(faced, reference.standing.tolist(), strict=True):
            kept["standing"][place] = stands
        kept |= {"package": reference.package, "seconds": kept["seconds"] + reference.seconds}
        write_json(written, kept)
    return np.array(kept["standing"], dtype=bool)
