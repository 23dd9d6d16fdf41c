"""Tables for the terminal."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from retemper.data import Data
from retemper.evaluation import Evaluation
from retemper.evaluation.intervals import Interval
from retemper.report import Network, Results

UPPER_BOUND = "Robust accuracy is an upper bound: what {attacks} did not break. An attack that fails proves nothing."


def finished_line(network: Network) -> Text:
    """One line for a network that has just been attacked."""
    images = len(network.clean)
    robust = ", ".join(f"{found.threat} {found.standing.count('1') / images:.1%}" for found in network.outcomes)
    return Text(f"seed {network.seed}  {network.objective}: clean {network.clean.count('1') / images:.1%}, {robust}")


def comparison_table(results: Results) -> Table:
    """Clean and robust accuracy with intervals, and what the training cost."""
    rows = results.rows()
    first = results.networks[0]
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=f"{results.data['name']}, {results.settings['model']}: "
        f"{len(first.clean)} {results.settings['split']} images, "
        f"mean over {len(results.seeds)} seed{'s' if len(results.seeds) > 1 else ''}, 95 % intervals",
        caption=UPPER_BOUND.format(attacks=", ".join(results.attacks))
        + " Time is that of training, over plain training."
        + _note(results.data["note"]),
    )
    table.add_column("objective", no_wrap=True)
    table.add_column("clean", justify="right", no_wrap=True)
    for outcome in first.outcomes:
        table.add_column(outcome.threat, justify="right", no_wrap=True)
    table.add_column("time", justify="right")
    for row in rows:
        ratio = sum(row.time_ratio) / len(row.time_ratio) if row.time_ratio else None
        shares = [row.clean, *row.robust.values()]
        table.add_row(
            row.objective,
            # The interval goes below, so that several radii fit into a terminal of 80 columns.
            *[f"{100 * share.mean:.1f} %\n{_range(share.interval)}" for share in shares],
            "" if ratio is None else f"{ratio:.2f}x",
        )
    return table


def evaluation_table(evaluation: Evaluation, data: Data, split: str) -> Table:
    """Clean and robust accuracy, and which attack broke how many."""
    table = Table(
        title=f"{data.name}: {len(evaluation.clean)} {split} images, 95 % intervals",
        caption=UPPER_BOUND.format(attacks=", ".join(_names(evaluation.attacks)))
        + _draws(evaluation)
        + _note(data.note),
    )
    table.add_column("threat")
    table.add_column("accuracy", justify="right")
    table.add_column("broken by")
    table.add_row("none", _share(evaluation.clean_accuracy, evaluation.clean_interval), "")
    for found in evaluation.robustness:
        broken = ", ".join(f"{name} {count}" for name, count in found.broken_by.items() if count)
        table.add_row(str(found.threat), _share(found.accuracy, found.interval), broken)
    return table


def _names(attacks: Sequence[str]) -> list[str]:
    """Without their settings, which are in the JSON and the report: a caption has to be read."""
    return [attack.partition(" (")[0] for attack in attacks]


def _draws(evaluation: Evaluation) -> str:
    if evaluation.draws == 1:
        return ""
    return f" The model answers at random: an image stands where most of {evaluation.draws} answers are right."


def _share(share: float, interval: Interval) -> str:
    return f"{100 * share:.1f} % [{_range(interval)}]"


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.1f}-{100 * interval.high:.1f}"


def _note(note: str) -> str:
    return f" Note: {note}." if note else ""
