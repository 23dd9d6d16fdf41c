"""The theory on real features: what margin a plainly trained network's last layer leaves, and the largest there is."""

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from retemper.checks import at_least_one
from retemper.data import load
from retemper.environment import describe
from retemper.errors import DataError, DivergenceError
from retemper.files import write_json
from retemper.information import Spectrum, margin, spectrum
from retemper.margins import LinearMargin, cross_entropy_limit, fit_margin, hard_margin_svm
from retemper.models.last_layer import features_of, last_layer
from retemper.objectives import CrossEntropy
from retemper.studies.ways import Way

BATCH = 512
TOLERANCE = 1e-3  # of the fitted margin: a network's features, in float32, have digits for no more


@dataclass(frozen=True)
class Pair:
    """Margins between two classes, on the training images of both.

    None where no hyperplane separates them, or so narrowly that a fit's digits do not suffice.

    Attributes:
        first: a class.
        second: another.
        last_layer: what the network's own last layer leaves, by the score of the first against the second;
            negative where it answers an image wrongly.
        limit: what cross-entropy on these features would converge to.
        differential: what differential training leaves.
        svm: the largest.
    """

    first: str
    second: str
    last_layer: float
    limit: float | None
    differential: float | None
    svm: float | None

    @property
    def overlapping(self) -> bool:
        """Whether no fit found a hyperplane that separates them."""
        return self.svm is None and self.limit is None and self.differential is None


@dataclass(frozen=True)
class Measured:
    """One network.

    Attributes:
        seed: of weights and order.
        training_errors: images of the training data that are answered wrongly.
        spectrum: in which directions the features of the training data vary.
        pairs: the margins, of each pair of classes.
    """

    seed: int
    training_errors: int
    spectrum: Spectrum
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Study:
    """What networks are trained, plainly, and on what.

    Attributes:
        data: as `retemper.load` takes it.
        classes: some of its classes; empty takes all.
        model: a network by name.
        epochs: of cross-entropy, with Adam.
        seeds: of weights and order, from 0 on.

    Raises:
        SettingError: a number below one.
    """

    data: str = "digits"
    classes: tuple[str, ...] = ()
    model: str = "small-cnn"
    epochs: int = 100
    seeds: int = 3

    def __post_init__(self) -> None:
        at_least_one(epochs=self.epochs, seeds=self.seeds)


def run(study: Study, out: Path | str, *, progress: bool = True) -> list[Measured]:
    """Train the networks and measure their features on the training images, on which a margin is defined.

    Args:
        study: what is run.
        out: a folder for the networks and `results.json`; the same call goes on where a killed one was.
        progress: show one line that says where it is.

    Raises:
        RetemperError: the data, the network or a setting is wrong, or `out` holds something else.
        OSError: `out` cannot be written.
    """
    folder, data = Path(out), load(study.data, classes=study.classes or None)
    way = Way("plain", CrossEntropy(), study.model)
    found = []
    for seed in range(study.seeds):
        model, _ = way.train(data, folder / f"plain-{seed}", epochs=study.epochs, seed=seed, progress=progress)
        last = last_layer(model, data.train.take(2).batch(slice(None))[0])
        features, labels = features_of(model, last, data.train.batches(BATCH))
        weight, bias = last.weight.detach(), last.bias.detach()
        wrong = int(((features @ weight.T + bias).argmax(1) != labels).sum())
        pairs = [
            _pair(features, labels, weight, bias, first, second, data.classes)
            for first, second in itertools.combinations(range(len(data.classes)), 2)
        ]
        found.append(Measured(seed, wrong, spectrum(features), tuple(pairs)))
    written = {"study": asdict(study), "networks": [asdict(one) for one in found], "environment": describe()}
    write_json(folder / "results.json", written)
    return found


def _pair(
    features: Float[Tensor, "images features"],
    labels: Int[Tensor, " images"],
    weight: Float[Tensor, "classes features"],
    bias: Float[Tensor, " classes"],
    first: int,
    second: int,
    classes: tuple[str, ...],
) -> Pair:
    chosen = (labels == first) | (labels == second)
    points, sides = features[chosen].double(), (labels[chosen] == second).long()
    own = margin(points, sides, (weight[second] - weight[first])[None], (bias[second] - bias[first])[None])
    fits: dict[str, Callable[[], LinearMargin]] = {
        "svm": lambda: hard_margin_svm(points, sides),
        "limit": lambda: cross_entropy_limit(points, sides),
        "differential": lambda: fit_margin(points, sides, tolerance=TOLERANCE),
    }
    found: dict[str, float | None] = dict.fromkeys(fits)
    for name, fit in fits.items():
        try:
            found[name] = fit().margin
        except DivergenceError:
            continue
        except DataError:  # they are proved to overlap: no fit would find more
            break
    return Pair(classes[first], classes[second], last_layer=own, **found)


def summary(found: Measured) -> dict[str, Any]:
    """One network's figures: the median over pairs of classes of each margin over the SVM's, and how many overlap."""
    apart = [pair for pair in found.pairs if pair.svm is not None]

    def share(name: str) -> float | None:
        shares = [getattr(pair, name) / pair.svm for pair in apart if getattr(pair, name) is not None]
        return float(np.median(shares)) if shares else None  # of an even number the mean of the middle two

    return {
        "overlapping": sum(pair.overlapping for pair in found.pairs),
        **{name: share(name) for name in ("last_layer", "limit", "differential")},
    }
