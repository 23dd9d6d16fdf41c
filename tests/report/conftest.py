from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from retemper.evaluation import Alarm, Curve, Evaluation, Example, Robustness
from retemper.information import LayerProfile
from retemper.report.results import Network, Outcome, Results
from retemper.threats import L2, Linf


def _results(
    objectives: Sequence[str] = ("plain", "entropic", "pgd"),
    seeds: Sequence[int] = (0, 1),
    threats: Sequence[str] = ("linf:0.05", "linf:0.1", "l2:0.5"),
    images: int = 20,
    layers: Sequence[str] = ("conv1_act", "dense1_act"),
) -> Results:
    """A comparison with made-up but lawful numbers: what falls at one radius has fallen at the next."""
    generator = np.random.default_rng(0)
    networks = []
    for seed in seeds:
        for place, objective in enumerate(objectives):
            # How far each image can be moved; below zero it is answered wrongly as it is.
            reach = generator.normal(0.5 + 0.2 * place, 0.5, images)
            outcomes = [
                Outcome(threat, _text(reach > 0.3 * (rank + 1)), {"pgd-ce": 1}) for rank, threat in enumerate(threats)
            ]
            profiles = [
                LayerProfile(layer, 64, 30, 30, *(float(value) for value in generator.uniform(0.1, 0.6, 5)))
                for layer in layers
            ]
            networks.append(
                Network(objective, seed, _text(reach > 0), tuple(outcomes), 10.0 + 5 * place + seed, tuple(profiles))
            )
    return Results(
        settings={
            "command": "retemper compare",
            "model": "small-cnn",
            "split": "test",
            "training": {"learning_rate": None},
        },
        environment={"torch": "2.13.0", "threads": 1},
        data={
            "name": "digits",
            "note": "",
            "images": {"train": 100, "validation": 10, "test": images},
            "classes": ["zero", "one", "two"],
            "fingerprint": "0123456789abcdef",
        },
        objectives={
            name: {"formula": f"Formula({name!r})", "summary": f"what {name} is", "retrains": name == "entropic"}
            for name in objectives
        },
        attacks=("apgd-ce (100 steps, 1 restart)", "apgd-dlr (100 steps, 1 restart)"),
        networks=tuple(networks),
    )


def _text(bits: np.ndarray) -> str:
    return "".join("01"[int(bit)] for bit in bits)


@pytest.fixture(scope="session")
def make_results() -> Callable[..., Results]:
    return _results


def _alarm(name: str = "zero gradients", effect: float = 0.1, answered_by: str = "") -> Alarm:
    """Rings above 0.5."""
    return Alarm(
        name=name,
        effect=effect,
        threshold=0.5,
        unit="share of images",
        evidence=f"What was seen of {name}.",
        meaning=f"What {name} means.",
        source="Author 2020",
        answered_by=answered_by,
    )


@pytest.fixture(scope="session")
def make_alarm() -> Callable[..., Alarm]:
    return _alarm


def _evaluation(
    images: int = 40,
    alarms: Sequence[Alarm] = (_alarm(),),
    examples: Sequence[Example] = (),
    closest: bool = True,
    draws: int = 1,
) -> Evaluation:
    """An evaluation at two radii of Linf and one of L2, made of distances drawn at random."""
    generator = np.random.default_rng(0)
    distances = {
        norm: generator.uniform(-0.2, 2, images).clip(0) * reach for norm, reach in (("linf", 0.1), ("l2", 0.5))
    }
    robustness = []
    for threat in (Linf(0.05), Linf(0.1), L2(0.5)):
        standing = distances[threat.norm] > threat.radius
        broken = int(((distances[threat.norm] > 0) & ~standing).sum())
        robustness.append(
            Robustness(threat, standing, {"fmn": broken - 1, "apgd-ce": 1, "square": 0}, tuple(examples), tuple(alarms))
        )
    return Evaluation(
        clean=distances["linf"] > 0,
        robustness=tuple(robustness),
        # As the engine gives them: by the name of the norm.
        curves=tuple(
            Curve(norm, (0.0, 1.0), distances[norm], reach, closest, torch.zeros(images, 1))
            for norm, reach in (("l2", 0.5), ("linf", 0.1))
        ),
        attacks=("fmn (50 steps)", "apgd-ce (100 steps, 1 restart)", "square (5000 queries)"),
        seed=7,
        draws=draws,
    )


@pytest.fixture(scope="session")
def make_evaluation() -> Callable[..., Evaluation]:
    return _evaluation
