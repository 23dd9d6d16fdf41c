from collections.abc import Callable, Sequence

import numpy as np
import pytest

from retemper.information import LayerProfile
from retemper.report.results import Network, Outcome, Results


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
                LayerProfile(layer, 64, 30, *(float(value) for value in generator.uniform(0.1, 0.6, 4)))
                for layer in layers
            ]
            networks.append(
                Network(objective, seed, _text(reach > 0), tuple(outcomes), 10.0 + 5 * place + seed, tuple(profiles))
            )
    return Results(
        settings={"command": "retemper compare", "model": "small-cnn", "training": {"learning_rate": None}},
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
