"""The report: one HTML page that holds everything it shows."""

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from retemper.evaluation import Example
from retemper.files import write_text
from retemper.information import QUANTITIES
from retemper.report import wording
from retemper.report.findings import compared, findings
from retemper.report.layers import layer_names, mean_share, mean_value
from retemper.report.plots import profile_figures, robustness_figures, swatch
from retemper.report.results import REFERENCE, Network, Results
from retemper.report.strips import Strip, is_image, magnification, strip
from retemper.report.style import styles
from retemper.report.svg import to_svg
from retemper.report.templating import environment, inlined


def write_page(results: Results, examples: Mapping[str, Sequence[Example]], path: Path) -> None:
    """Write the report of a comparison as one HTML file that asks for nothing else.

    Args:
        results: what was measured.
        examples: adversarial examples by objective; shown where the inputs are images.
        path: of the file, written whole or not at all.
    """
    template = environment().get_template("report.html")
    pictured = {name: [example for example in found if is_image(example)] for name, found in examples.items()}
    factor = magnification(example for found in pictured.values() for example in found)
    page = template.render(
        results=results,
        rows=results.rows(),
        reference=REFERENCE,
        has_reference=REFERENCE in results.objectives,
        compared=compared(results),
        findings=findings(results),
        norms=_norms(results),
        swatches=_swatches(results),
        curves=inlined(robustness_figures(results)),
        profiles=inlined({QUANTITIES[key]: figure for key, figure in profile_figures(results).items()}),
        layers=list(_layers(results)),
        strips=_strips(results, pictured, factor) if any(pictured.values()) else {},
        factor=factor,
        settings=[entry for entry in _flattened(results.settings) if entry[0] != "command"],
        environment=list(_flattened(results.environment)),
    )
    write_text(path, page)


def _norms(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """The columns of the table: the threats under their norms, each as its radius and its key."""
    return [
        (norm, [(wording.radius(threat), str(threat)) for threat in group])
        for norm, group in groupby(results.threats(), key=wording.norm)
    ]


def _swatches(results: Results) -> dict[str, str]:
    return {
        name: "data:image/svg+xml;base64," + base64.b64encode(to_svg(swatch(style), "s").encode()).decode()
        for name, style in styles(results.objectives).items()
    }


def _layers(results: Results) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    """For each layer, for each objective that has it, the quantities with their shares of the maximum."""
    for layer in layer_names(results.networks):
        rows = []
        for objective in results.objectives:
            networks = [network for network in results.of(objective) if _has(network, layer)]
            if networks:
                rows.append((objective, [_quantity(networks, layer, quantity) for quantity in QUANTITIES]))
        yield layer, rows


def _has(network: Network, layer: str) -> bool:
    return any(profile.layer == layer for profile in network.layers)


def _quantity(networks: Sequence[Network], layer: str, quantity: str) -> str:
    share = wording.share(mean_share(networks, layer, quantity))
    value = mean_value(networks, layer, quantity)
    return share if quantity == "active" or not math.isfinite(value) else f"{value:.3g} ({share})"


def _strips(results: Results, pictured: Mapping[str, Sequence[Example]], factor: float) -> dict[str, list[Strip]]:
    classes = results.data["classes"]
    return {name: [strip(example, classes, factor) for example in found] for name, found in pictured.items()}


def _flattened(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """The entries of nested dictionaries, each with its path and as text."""
    for key, entry in value.items():
        name = f"{above}{key}".replace("_", " ")
        if isinstance(entry, Mapping):
            yield from _flattened(entry, f"{name}: ")
        else:
            yield name, _text(entry)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "default"
    if isinstance(value, float) and not math.isfinite(value):
        return wording.UNKNOWN
    if isinstance(value, list | tuple):
        return ", ".join(_text(entry) for entry in value) or wording.UNKNOWN
    return f"{value:g}" if isinstance(value, float) else str(value)
