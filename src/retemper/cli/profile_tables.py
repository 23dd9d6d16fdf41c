"""The tables of `retemper profile`: what the layers of one network keep, or two networks side by side."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from retemper.cli.plain_table import plain_table
from retemper.data import Data
from retemper.information import QUANTITIES, LayerDifference, LayerProfile
from retemper.information.resampling import Estimate
from retemper.intervals import Interval
from retemper.report import wording

_NETWORK, _LAYER = 8, 24  # columns that 80 have room for
_DIGITS = {"activation_entropy": 2, "unit_entropy": 3, "renyi_entropy": 3, "effective_rank": 1, "active": 1}


def profile_table(name: str, layers: Sequence[LayerProfile], changes: Sequence[LayerDifference], data: Data) -> Table:
    """Below each layer a row a quantity: figure, maximum, interval, and the change from the layer before.

    Args:
        name: of the network.
        layers: measured with replicates.
        changes: from layer to layer.
        data: whose test images were shown.
    """
    table = _table(f"{name} on {data.name}", layers, data, "Change: from the layer before, in points of the maximum.")
    for heading in ("figure", "of", "95 % interval", "change"):
        table.add_column(heading, justify="right", no_wrap=True)
    before = {change.layer: change for change in changes}
    for layer in layers:
        table.add_row(_heading(layer))
        for quantity, words in QUANTITIES.items():
            table.add_row(
                f"  {words}",
                _number(getattr(layer, quantity), quantity),
                _number(layer.maxima[quantity], quantity),
                _interval(layer.interval(quantity), quantity),
                _points(before.get(layer.layer), quantity),
            )
        table.add_section()
    return table


def difference_table(
    networks: Mapping[str, Sequence[LayerProfile]], differences: Sequence[LayerDifference], data: Data
) -> Table:
    """Below each layer a row a quantity: both networks' figures, the maximum, the difference and its paired interval.

    Args:
        networks: two, by name.
        differences: of the first minus the second; bold where the interval lies on one side of zero.
        data: whose test images were shown.
    """
    ours, theirs = networks.values()
    names = list(networks)
    headings = names if max(map(len, names)) <= _NETWORK else ["first", "second"]
    compared = [
        name if name == heading else f"{name} ({heading})" for name, heading in zip(names, headings, strict=True)
    ]
    note = "In brackets: the 95 % interval of the difference, paired over images; bold: zero is outside."
    table = _table(f"{' minus '.join(compared)} on {data.name}", ours, data, note)
    for heading in (*headings, "of", "difference"):
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for our, their, difference in zip(ours, theirs, differences, strict=True):
        table.add_row(_heading(our))
        for quantity, words in QUANTITIES.items():
            table.add_row(
                f"  {words}",
                *(_number(getattr(layer, quantity), quantity) for layer in (our, their)),
                _number(our.maxima[quantity], quantity),
                _difference(difference.values[quantity], quantity),
            )
        table.add_section()
    return table


def _table(title: str, layers: Sequence[LayerProfile], data: Data, caption: str) -> Table:
    images, compared = layers[0].images, layers[0].gram_images
    caption = f"Each figure of its maximum; entropies in nats, active units in per cent. {caption}"
    if compared < images:
        caption += f" Renyi entropy and effective rank: of the first {compared:,} images."
    caption += f" Note: {data.note}." if data.note else ""
    table = plain_table(f"{title}: {wording.count(images, 'test image')}", caption)
    table.show_edge = False
    table.add_column("layer", overflow="fold")
    return table


def _heading(layer: LayerProfile) -> Text:
    """The layer's name and width, in one line if there is room for both."""
    units = wording.count(layer.units, "unit")
    space = "  " if len(f"{layer.layer}  {units}") <= _LAYER else "\n"
    return Text.assemble((layer.layer, "bold"), space, (units, "dim"))


def _number(value: float, quantity: str) -> str:
    return f"{100 * value if quantity == 'active' else value:.{_DIGITS[quantity]}f}"


def _signed(value: float, quantity: str) -> str:
    text = _number(abs(value), quantity)
    return text if float(text) == 0 else f"{'−' if value < 0 else '+'}{text}"


def _interval(ends: Interval, quantity: str) -> str:
    return f"{_number(ends.low, quantity)}–{_number(ends.high, quantity)}"


def _difference(estimate: Estimate, quantity: str) -> Text:
    low, high = estimate.interval
    text = f"{_signed(estimate.value, quantity)} ({_signed(low, quantity)} to {_signed(high, quantity)})"
    return Text(text, style="bold" if low > 0 or high < 0 else "")


def _points(change: LayerDifference | None, quantity: str) -> str:
    """The change of the share of the maximum; nothing for the first layer, or where a maximum is zero."""
    return wording.points(change.shares[quantity].value) if change and quantity in change.shares else ""
