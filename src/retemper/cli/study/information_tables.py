"""The tables of the study of information: a row a way, and the correlations."""

import numpy as np
from rich.table import Table

from retemper.cli.plain_table import plain_table
from retemper.information import QUANTITIES
from retemper.studies.information import MEAN, Found


def layers_table(found: Found, model: str) -> Table:
    """One row a way: clean and robust accuracy, and each measure as a share of its maximum, meaned over layers."""
    table = plain_table(f"{model}: means over seeds", "Measures: mean over layers, % of the maximum.")
    for column in ("", "clean", "robust", *(name.replace(" ", "\n") for name in QUANTITIES.values())):
        table.add_column(column, justify="right" if column else "left", no_wrap=bool(column))
    for way in found.study.ways(model):
        networks = [network for network in found.networks if network.way == way.name]
        shares = [np.mean([network.share(quantity, MEAN) for network in networks]) for quantity in QUANTITIES]
        clean = np.mean([network.clean for network in networks])
        robust = np.mean([network.robustness for network in networks])
        name = way.name.removeprefix(f"{model}-")
        table.add_row(name, f"{clean:.1%}", f"{robust:.1%}", *[_percent(float(share)) for share in shares])
    return table


def changes_table(found: Found, model: str) -> Table:
    """What the last weight and the last radius moved in each layer, against plain training."""
    table = plain_table(
        f"{model}: less plain, layer by layer", "Means over seeds, in points of the per cent of the maximum."
    )
    for column in ("", *(name.replace(" ", "\n") for name in QUANTITIES.values())):
        table.add_column(column, justify="right" if column else "left", no_wrap=bool(column))
    plain = found.by_layer(found.study.ways(model)[0].name)
    for way in found.study.strongest(model):
        table.add_row(way.removeprefix(f"{model}-"))
        for layer, shares in found.by_layer(way).items():
            table.add_row(f"  {layer}", *[_percent(shares[one] - plain[layer][one], "+") for one in QUANTITIES])
    return table


def correlations_table(found: Found) -> Table:
    """One row a measure and place: its rank correlations with robust accuracy."""
    table = plain_table(
        "Spearman's rank correlation with robust accuracy over ways, means over seeds",
        f"Strongest first, by the mean over models. Of measures that have nothing to do with it one in twenty has "
        f"{found.by_chance():.2f} or more, in size, within a model.",
    )
    for column in ("measure", "at", *found.study.models, "mean", "all"):
        table.add_column(column, justify="left" if column in ("measure", "at") else "right", no_wrap=True)
    for one in found.correlations():
        table.add_row(
            QUANTITIES[one.quantity],
            one.place,
            *[_signed(value) for value in one.within.values()],
            _signed(one.mean),
            _signed(one.overall),
        )
    return table


def _percent(share: float, sign: str = "") -> str:
    return "-" if np.isnan(share) else f"{100 * share:{sign}.1f}"


def _signed(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:+.2f}"
