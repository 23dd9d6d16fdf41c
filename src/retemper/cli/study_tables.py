"""The studies' tables for the terminal."""

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.table import Table

from retemper.information import QUANTITIES
from retemper.studies.contest import Result
from retemper.studies.information import MEAN, Found
from retemper.studies.low_rank import LowRank
from retemper.studies.real_features import Measured, summary


def low_rank_table(study: LowRank) -> Table:
    """Margins over the SVM's: cross-entropy's for every offset and shift, trained and in theory; differential's."""
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title="Margin of cross-entropy, trained and (in theory), as a share of the SVM's: "
        f"mean over {study.seeds} set{'s' if study.seeds > 1 else ''}",
        caption=f"Differential training is within {study.differential_misses:.2g} of the SVM's margin on every set, "
        f"trained cross-entropy within {study.cross_entropy_misses:.2g} of its limit in theory, as shares.",
    )
    table.add_column("offset", justify="right", no_wrap=True)
    for shift in study.shifts:
        table.add_column(f"shift {shift:g}", justify="right", no_wrap=True)
    table.add_column("differential", justify="right", no_wrap=True)
    for offset in study.offsets:
        least = min(study.share("differential", offset, shift) for shift in study.shifts)
        table.add_row(
            f"{offset:g}",
            *[
                # The theory goes below, so that the sweep fits into a terminal of 80 columns.
                f"{study.share('cross_entropy', offset, shift):.3f}\n({study.share('limit', offset, shift):.3f})"
                for shift in study.shifts
            ],
            f"{least:.4f}",
        )
    return table


def features_table(networks: Sequence[Measured]) -> Table:
    """One column a network: how its features vary, and the margins over the SVM's."""
    pairs, dimensions = len(networks[0].pairs), len(networks[0].spectrum.singular_values)
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=f"{dimensions} features that the last layer is given, on all training images",
        caption="Margins are shares of the SVM's on the same features"
        + (f", the median over {pairs} pairs of classes." if pairs > 1 else ".")
        + " Negative: a training image is answered wrongly.",
    )
    table.add_column("")
    for network in networks:
        table.add_column(f"seed {network.seed}", justify="right", no_wrap=True)
    found = [summary(network) for network in networks]
    table.add_row("training images answered wrongly", *[str(one.training_errors) for one in networks])
    table.add_row("effective rank", *[f"{one.spectrum.effective_rank:.1f}" for one in networks])
    table.add_row("directions that do not vary", *[str(one.spectrum.constant) for one in networks])
    table.add_row("length of the mean in them", *[f"{one.spectrum.offset:.2g}" for one in networks])
    table.add_row(f"pairs that overlap, of {pairs}", *[str(one["overlapping"]) for one in found])
    rows = {"last_layer": "margin of the last layer", "limit": "limit of cross-entropy", "differential": "differential"}
    for name, words in rows.items():
        table.add_row(words, *["-" if one[name] is None else f"{one[name]:.4f}" for one in found])
    return table


def search_table(result: Result) -> Table:
    """What every candidate reached on validation images; the chosen ones are marked."""
    table = _table("Tried on validation images; * chosen", "Robust: the mean over the threats.")
    for column in ("way", "clean", "robust"):
        table.add_column(column, justify="left" if column == "way" else "right", no_wrap=True)
    for trial in result.trials:
        mark = " *" if trial.way in result.chosen.values() else ""
        table.add_row(trial.way + mark, f"{trial.clean:.1%}", f"{trial.robust:.1%}")
    return table


def contest_table(result: Result) -> Table:
    """One row a rival: means over seeds with each seed, the gain over the first rival, and the time of training."""
    contest = result.contest
    table = _table(
        f"{contest.images} test images, mean over seeds (each)",
        "Below a share: the gain over the first rival on the same images, with its 95 % interval. "
        "Time: seconds of training.",
    )
    for column in ("", "clean", *map(str, contest.threats), "time"):
        table.add_column(column, justify="right" if column else "left", no_wrap=bool(column))
    gains = {(gain.rival, gain.threat): gain for gain in result.gains()}
    for rival in contest.rivals:
        networks = result.of(rival)
        cells = []
        for place, threat in enumerate(contest.threats):
            cell = _seeds([network.standing[place] for network in networks])
            if (gain := gains.get((rival, str(threat)))) is not None:
                low, high = gain.interval
                cell += f"\n{100 * gain.mean:+.1f}\n[{100 * low:+.1f}, {100 * high:+.1f}]"
            rung = sorted({name for network in networks for name in network.ringing[place]})
            cells.append("\n".join([cell, *(f"alarm: {name}" for name in rung)]))
        time = f"{np.mean([network.seconds for network in networks]):.0f}"
        table.add_row(rival, _seeds([network.clean for network in networks]), *cells, time)
    return table


def layers_table(found: Found, model: str) -> Table:
    """One row a way: clean and robust accuracy, and each measure as a share of its maximum, meaned over layers."""
    table = _table(f"{model}: means over seeds", "Measures: mean over layers, % of the maximum.")
    for column in ("", "clean", "robust", *(name.replace(" ", "\n") for name in QUANTITIES.values())):
        table.add_column(column, justify="right" if column else "left", no_wrap=bool(column))
    for way in found.study.ways(model):
        networks = [network for network in found.networks if network.way == way.name]
        shares = [np.mean([network.share(quantity, MEAN) for network in networks]) for quantity in QUANTITIES]
        clean = np.mean([network.clean for network in networks])
        robust = np.mean([network.robustness for network in networks])
        name = way.name.removeprefix(f"{model}-")
        table.add_row(name, f"{clean:.1%}", f"{robust:.1%}", *[f"{100 * share:.1f}" for share in shares])
    return table


def correlations_table(found: Found) -> Table:
    """One row a measure and place: its rank correlations with robust accuracy."""
    table = _table(
        f"Spearman's rank correlation with robust accuracy, {len(found.networks)} networks",
        "Strongest first, by the mean over models.",
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


def _signed(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:+.2f}"


def _table(title: str, caption: str | None = None) -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, caption=caption)


def _seeds(shares: Sequence[np.ndarray]) -> str:
    each = [100 * float(share.mean()) for share in shares]
    return f"{np.mean(each):.1f} ({' '.join(f'{one:.1f}' for one in each)})"
