"""The tables of the studies of margins."""

from collections.abc import Sequence

from rich.table import Table

from retemper.cli.plain_table import plain_table
from retemper.studies.low_rank import LowRank
from retemper.studies.real_features import Measured, summary


def low_rank_table(study: LowRank) -> Table:
    """Margins over the SVM's: cross-entropy's for every offset and shift, trained and in theory; differential's."""
    table = plain_table(
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
    pairs, features = len(networks[0].pairs), networks[0].spectrum.features
    table = plain_table(
        title=f"{features} features that the last layer is given, on all training images",
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
