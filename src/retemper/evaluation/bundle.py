"""A refutation in one file: what was asked of which model, and every input that it answers wrongly."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from retemper.data import Split
from retemper.data.hashing import content_hash
from retemper.environment import describe
from retemper.errors import CheckpointError
from retemper.evaluation.claim import Claim
from retemper.files import replacing
from retemper.models.hashing import weights_hash
from retemper.threats import NORMS

FORMAT = "retemper refutation 1"
_TENSORS = ("originals", "adversarial", "labels", "indices")
_ABOUT = ("images", "classes", "weights", "data", "attacks", "seed", "draws", "environment")


@dataclass(frozen=True, eq=False)
class Bundle:
    """Every image that fell at a claim's threat, and what was attacked.

    Attributes:
        originals: the images that fell, as they are.
        adversarial: what each became; the original where that is answered wrongly already.
        labels: the right answers.
        indices: the places of the images in the split.
        claim: what they speak against.
        images: how many were evaluated: the first so many of the split.
        classes: how many logits the model gives.
        weights: the hash of the model's weights.
        data: name, split and fingerprint of the data.
        attacks: what ran, with settings.
        seed: of the attacks' random numbers.
        draws: how often a randomised model is asked for its majority answer; 1 for all others.
        environment: versions and processor.
    """

    originals: Float[Tensor, "fallen *shape"]
    adversarial: Float[Tensor, "fallen *shape"]
    labels: Int[Tensor, " fallen"]
    indices: Int[Tensor, " fallen"]
    claim: Claim
    images: int
    classes: int
    weights: str
    data: dict[str, str]
    attacks: tuple[str, ...]
    seed: int
    draws: int
    environment: dict[str, Any]

    @classmethod
    def of(
        cls,
        model: nn.Module,
        split: Split,
        points: Float[Tensor, "images *shape"],
        standing: Bool[Tensor, " images"],
        claim: Claim,
        *,
        classes: int,
        data: dict[str, str],
        attacks: tuple[str, ...],
        seed: int,
        draws: int = 1,
    ) -> Self:
        """Gather the images that fell out of an evaluation.

        Args:
            model: what was attacked.
            split: the images that were evaluated, all of them.
            points: for every image what it was last moved to; only those that fell count.
            standing: for every image, whether it stands.
            claim: what they speak against.
            classes: how many logits the model gives.
            data: name, split and fingerprint of the data.
            attacks: what ran, with settings.
            seed: of the attacks' random numbers.
            draws: how often the model is asked, if it is randomised.
        """
        fallen = (~standing).nonzero()[:, 0].cpu()
        originals, labels = split.to("cpu").batch(fallen)
        return cls(
            originals=originals.to(points.dtype),
            adversarial=points.detach().cpu()[fallen],
            labels=labels,
            indices=fallen,
            claim=claim,
            images=len(split),
            classes=classes,
            weights=weights_hash(model),
            data=data,
            attacks=attacks,
            seed=seed,
            draws=draws,
            environment=describe(),
        )


def write_bundle(path: Path | str, bundle: Bundle) -> None:
    """Write a bundle as one safetensors file, whole or not at all.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    from safetensors.torch import save_file

    tensors = {name: getattr(bundle, name).clone(memory_format=torch.contiguous_format) for name in _TENSORS}
    threat = bundle.claim.threat
    about = {
        "claim": bundle.claim.accuracy,
        "threat": {"norm": threat.norm, "radius": threat.radius, "bounds": threat.bounds},
        **{name: getattr(bundle, name) for name in _ABOUT},
    }
    text = json.dumps(about, allow_nan=False)
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, {"format": FORMAT, "about": text, "hash": _hash(tensors, text)})


def read_bundle(path: Path | str) -> Bundle:
    """Read a bundle; nothing in the file is run.

    Raises:
        CheckpointError: the file is missing, no bundle, or not what was written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors: {error}. Name a bundle that `retemper evaluate` wrote."
        ) from None
    if header.get("format") != FORMAT or set(tensors) != set(_TENSORS):
        raise CheckpointError(
            f"{path} is no refutation that this version of retemper reads: expected the format {FORMAT!r}, but got "
            f"{header.get('format')!r}. Name a bundle that `retemper evaluate` wrote."
        )
    text = header.get("about", "")
    if header.get("hash") != _hash(tensors, text):
        raise CheckpointError(f"{path} is damaged: its content is not what was written. Fetch or compute it again.")
    return _built(path, tensors, text)


def _built(path: Path | str, tensors: dict[str, Tensor], text: str) -> Bundle:
    try:
        about = json.loads(text)
        threat = about["threat"]
        claim = Claim(about["claim"], NORMS[threat["norm"]](threat["radius"], tuple(threat["bounds"])))
        claim.threat.check_inputs(tensors["originals"])
        numbers, data = [about[name] for name in ("images", "classes", "seed", "draws")], about["data"]
        if (
            not all(type(number) is int for number in numbers)
            or about["images"] < len(tensors["indices"])
            or about["draws"] < 1
            or not isinstance(data, dict)
            or not {"name", "split"} <= set(data)
            # What is printed may hold no signs that steer a terminal.
            or not all(isinstance(text, str) and text.isprintable() for text in data.values())
        ):
            raise ValueError("its numbers of images and draws, or the name and split of its data, make no sense")
        fields: dict[str, Any] = {name: about[name] for name in _ABOUT} | {"attacks": tuple(about["attacks"])} | tensors
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} does not hold a refutation: {type(error).__name__}: {error}.") from None
    originals, adversarial = tensors["originals"], tensors["adversarial"]
    places = {(tensors[name].dtype, tensors[name].shape) for name in ("labels", "indices")}
    if (originals.dtype, originals.shape) != (adversarial.dtype, adversarial.shape) or places != {
        (torch.int64, originals.shape[:1])
    }:
        raise CheckpointError(f"{path} does not hold a refutation: its tensors do not belong together.")
    return Bundle(claim=claim, **fields)


def _hash(tensors: dict[str, Tensor], text: str) -> str:
    return content_hash((tensors[name] for name in _TENSORS), [text])
