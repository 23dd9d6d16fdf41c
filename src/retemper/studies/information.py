"""The effect that entropic retraining mimics: what training does to layers, and what of it goes with robustness."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retemper.checks import at_least_one
from retemper.data import load
from retemper.environment import describe
from retemper.errors import SettingError
from retemper.files import write_json
from retemper.information import QUANTITIES, LayerProfile, profile
from retemper.objectives import CrossEntropy, PGDTraining, entropic_retraining
from retemper.studies.attacking import tried
from retemper.studies.ways import Way
from retemper.threats import Threat

BATCH = 256
FIRST, MEAN, LAST = "first layer", "mean of layers", "last layer"
_PERMUTATIONS = 5000
_PLACES: dict[str, Callable[[Sequence[float]], float]] = {
    FIRST: lambda shares: shares[0],
    MEAN: lambda shares: _mean_of_known(shares),
    LAST: lambda shares: shares[-1],
}


@dataclass(frozen=True)
class Study:
    """What is trained and measured, on validation images: the defaults are chosen by it.

    Attributes:
        data: as `retemper.load` takes it.
        classes: of the data; empty for all.
        models: networks by name.
        threats: whose mean robust accuracy measures are held against; the first is what PGD trains against.
        radii: of PGD training, growing.
        weights: of the entropy term.
        base_epochs: of plain training from fresh weights, which all ways share.
        epochs: of each way from there.
        seeds: of weights and order, from 0 on.
        images: attacked.
        profiled: shown to each layer.

    Raises:
        SettingError: a number below one, no network or no threat, or fewer than three networks of a kind to rank.
    """

    data: str
    models: tuple[str, ...]
    threats: tuple[Threat, ...]
    radii: tuple[float, ...]
    weights: tuple[float, ...]
    classes: tuple[str, ...] = ()
    base_epochs: int = 2
    epochs: int = 1
    seeds: int = 2
    images: int = 500
    profiled: int = 1000

    def __post_init__(self) -> None:
        at_least_one(
            base_epochs=self.base_epochs,
            epochs=self.epochs,
            seeds=self.seeds,
            images=self.images,
            profiled=self.profiled,
        )
        if not self.models or not self.threats:
            raise SettingError("Expected one network and one threat at least, but got none.")
        if 1 + len(self.radii) + len(self.weights) < 3:
            raise SettingError(
                "Expected two radii or weights at least, so that there is something to rank, but got "
                f"{len(self.radii)} radii and {len(self.weights)} weights."
            )

    def ways(self, model: str) -> list[Way]:
        """Plain retraining, entropic retraining by weight, PGD training by radius."""
        objectives = {
            "plain": CrossEntropy(),
            **{f"entropic-{weight:g}": entropic_retraining(weight) for weight in self.weights},
            **{_pgd(threat): PGDTraining(threat) for threat in map(self.threats[0].with_radius, self.radii)},
        }
        return [
            Way(f"{model}-{name}", objective, model, base_epochs=self.base_epochs)
            for name, objective in objectives.items()
        ]

    def strongest(self, model: str) -> list[str]:
        """The names of the ways with the last weight and with the last radius, where there are any."""
        names = [way.name for way in self.ways(model)]
        return [names[place] for place in sorted({len(self.weights), len(names) - 1} - {0})]


@dataclass(frozen=True)
class Measured:
    """One network on validation images.

    Attributes:
        model: its name.
        way: how it was trained.
        seed: of weights and order.
        clean: accuracy, in [0, 1].
        robust: the same under attack, by threat.
        layers: its profile.
    """

    model: str
    way: str
    seed: int
    clean: float
    robust: dict[str, float]
    layers: tuple[LayerProfile, ...]

    @property
    def robustness(self) -> float:
        """The mean over the threats."""
        return sum(self.robust.values()) / len(self.robust)

    def share(self, quantity: str, place: str) -> float:
        """A quantity as a share of its maximum, at one of the `FIRST`, `MEAN` and `LAST` layers.

        NaN where that maximum is zero, as for a layer of one unit, which the mean leaves out.
        """
        return _PLACES[place]([_of_maximum(layer, quantity) for layer in self.layers])


@dataclass(frozen=True)
class Correlation:
    """How a measure goes with robust accuracy over ways of training: Spearman's rank correlations, in [-1, 1].

    Each way counts once, with its means over seeds: two networks of one way are nearly the same twice.

    Attributes:
        quantity: of the profile, as a share of its maximum.
        place: the layers that it is read at.
        within: for each model the correlation over its ways; NaN where either does not vary.
        overall: over the ways of all models.
    """

    quantity: str
    place: str
    within: dict[str, float]
    overall: float

    @property
    def mean(self) -> float:
        """Over the models, of those in which there is one; NaN where there is none."""
        return _mean_of_known(list(self.within.values()))


@dataclass(frozen=True)
class Found:
    """All networks of a study."""

    study: Study
    networks: tuple[Measured, ...]

    def by_layer(self, way: str) -> dict[str, dict[str, float]]:
        """For each layer of the networks of a way every quantity as a share of its maximum, the mean over seeds.

        NaN where the maximum is zero.
        """
        profiles = [network.layers for network in self.networks if network.way == way]
        return {
            alike[0].layer: {
                quantity: float(np.mean([_of_maximum(layer, quantity) for layer in alike])) for quantity in QUANTITIES
            }
            for alike in zip(*profiles, strict=True)
        }

    def correlations(self) -> list[Correlation]:
        """Of every quantity at every place, the strongest first, by size of the mean over models."""
        found = [
            Correlation(
                quantity,
                place,
                {
                    model: _rank_correlation(
                        [network for network in self.networks if network.model == model], quantity, place
                    )
                    for model in self.study.models
                },
                _rank_correlation(self.networks, quantity, place),
            )
            for quantity in QUANTITIES
            for place in _PLACES
        ]
        return sorted(found, key=lambda one: -abs(np.nan_to_num(one.mean)))

    def by_chance(self) -> float:
        """The size that one in twenty measures reaches within a model without any relation, by permutations."""
        numbers = np.arange(len(self.networks) // len(self.study.models) // self.study.seeds)
        generator = np.random.default_rng(0)
        # Of ranks without ties: ties change it little.
        found = [abs(np.corrcoef(numbers, generator.permutation(numbers))[0, 1]) for _ in range(_PERMUTATIONS)]
        return float(np.quantile(found, 0.95, method="higher"))

    def as_json(self) -> dict[str, Any]:
        """Everything that was asked and found."""
        return {
            "study": asdict(self.study) | {"threats": [str(threat) for threat in self.study.threats]},
            "networks": [
                {
                    "model": network.model,
                    "way": network.way,
                    "seed": network.seed,
                    "clean": network.clean,
                    "robust": network.robust,
                    "layers": [layer.as_json() for layer in network.layers],
                }
                for network in self.networks
            ],
            "correlations": [
                {
                    "quantity": one.quantity,
                    "place": one.place,
                    "within": {model: _or_null(value) for model, value in one.within.items()},
                    "mean": _or_null(one.mean),
                    "overall": _or_null(one.overall),
                }
                for one in self.correlations()
            ],
            "by_chance": self.by_chance(),
            "environment": describe(),
        }


def run(study: Study, out: Path | str, *, progress: bool = True) -> Found:
    """Train, attack and profile; the same call goes on where a killed one was.

    Args:
        study: what is run.
        out: a folder for the networks, what is known of their images, and `results.json`.
        progress: show one line that says where it is.

    Raises:
        RetemperError: the data, a network or a setting is wrong, or `out` holds something else.
        OSError: `out` cannot be written.
    """
    folder, data = Path(out), load(study.data, classes=study.classes or None)
    networks = []
    for model in study.models:
        for way in study.ways(model):
            for seed in range(study.seeds):
                place = folder / f"{way.name}-{seed}"
                network, _ = way.train(data, place, epochs=study.epochs, seed=seed, progress=progress)
                images, label = data.validation.take(study.images), f"{place.name}: attacking"
                found = tried(network, images, study.threats, place / "validation", progress=progress, label=label)
                layers = profile(network, data.validation.take(study.profiled).batches(BATCH), replicates=0)
                robust = {str(each.threat): each.accuracy for each in found.robustness}
                networks.append(Measured(model, way.name, seed, found.clean_accuracy, robust, tuple(layers)))
    result = Found(study, tuple(networks))
    write_json(folder / "results.json", result.as_json())
    return result


def _pgd(threat: Threat) -> str:
    """The name of training against it, which names a folder, too."""
    return "pgd-" + str(threat).partition(":")[2].replace("/", "_")


def _rank_correlation(networks: Sequence[Measured], quantity: str, place: str) -> float:
    from scipy.stats import spearmanr

    ways = defaultdict(list)
    for network in networks:
        ways[network.model, network.way].append((network.share(quantity, place), network.robustness))
    # Equal means of several seeds differ by rounding.
    shares, robust = np.round([np.mean(seeds, axis=0) for seeds in ways.values()], 9).T
    if np.isnan(shares).any() or np.ptp(shares) == 0 or np.ptp(robust) == 0:
        return float("nan")
    return float(spearmanr(shares, robust).statistic)


def _of_maximum(layer: LayerProfile, quantity: str) -> float:
    maximum = layer.maxima[quantity]
    return getattr(layer, quantity) / maximum if maximum > 0 else float("nan")


def _mean_of_known(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else float("nan")


def _or_null(value: float) -> float | None:
    return None if np.isnan(value) else value
