"""What `retemper profile` does with its options: load, measure, print and write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from retemper.cli.profile_tables import difference_table, profile_table
from retemper.data import Data, load
from retemper.environment import describe
from retemper.errors import SettingError
from retemper.files import write_json, write_text
from retemper.information import LayerDifference, LayerProfile, changes, difference, profile
from retemper.models import load as load_model
from retemper.process_group import join
from retemper.report.profile_plot import profile_figure
from retemper.report.svg import to_svg
from retemper.training import check_fit


@dataclass(frozen=True)
class Asked:
    """The options of the command; one file of weights, or two to compare."""

    weights: tuple[Path, ...]
    factory: str | None
    data: str
    classes: tuple[str, ...]
    layers: tuple[str, ...]
    images: int


@dataclass(frozen=True)
class Found:
    """What came of it: the layers of each network by its name, and of two networks the first minus the second."""

    asked: Asked
    data: Data
    networks: dict[str, list[LayerProfile]]
    differences: list[LayerDifference]


def run(asked: Asked) -> Found:
    """Measure the networks on the same images.

    Raises:
        RetemperError: an option that does not fit, or networks that have not the same layers.
    """
    data = load(asked.data, classes=asked.classes or None)
    shown = data.test.take(asked.images)
    networks = {}
    for name, weights in zip(_names(asked.weights), asked.weights, strict=True):
        network = load_model(weights, asked.factory).to(join().device)
        check_fit(network, data)
        networks[name] = profile(network, shown.batches(256), asked.layers)
    return Found(asked, data, networks, difference(*networks.values()) if len(networks) == 2 else [])


def table(found: Found) -> Table:
    """The layers of one network, or two side by side."""
    if found.differences:
        return difference_table(found.networks, found.differences, found.data)
    ((name, layers),) = found.networks.items()
    return profile_table(name, layers, changes(layers), found.data)


def write(found: Found, out: Path) -> None:
    """Write `profile.json` and `profile.svg`."""
    if found.differences:
        heading, differences = f"{' minus '.join(found.networks)}, points", found.differences
    else:
        (layers,) = found.networks.values()
        heading, differences = "Change from the layer before, points", changes(layers)
    write_text(out / "profile.svg", to_svg(profile_figure(found.networks, differences, heading), "profile"))
    write_json(out / "profile.json", as_json(found))


def as_json(found: Found) -> dict[str, Any]:
    """Everything that was asked and found."""
    data = found.data
    return {
        "data": {"name": data.name, "note": data.note, "split": "test", "fingerprint": data.fingerprint()},
        "environment": describe(),
        "networks": [
            {
                "name": name,
                "weights": str(weights),
                "layers": [layer.as_json() | {"maxima": layer.maxima} for layer in layers],
                "changes": [change.as_json() for change in changes(layers)],
            }
            for (name, layers), weights in zip(found.networks.items(), found.asked.weights, strict=True)
        ],
        "difference": [difference.as_json() for difference in found.differences],
    }


def _names(weights: Sequence[Path]) -> list[str]:
    """What tells the networks apart: the file's name, that of its folder for `model.safetensors`, or the whole path.

    Raises:
        SettingError: it is the same file twice.
    """
    if len({path.resolve() for path in weights}) < len(weights):
        raise SettingError(f"Expected another network than {weights[0]} to compare it with, but got the same file.")
    names = [path.resolve().parent.name if path.stem == "model" else path.stem for path in weights]
    return names if len(set(names)) == len(names) else [str(path) for path in weights]
