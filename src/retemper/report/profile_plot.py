"""The plot of a profile: what each layer keeps, and the change from layer to layer or to another network."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from retemper.information import QUANTITIES, LayerDifference, LayerProfile
from retemper.report.axes import fit, name_layers
from retemper.report.style import Style, styles
from retemper.report.svg import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (8.6, 10.5)  # inches
_ASIDE = 0.08  # how far bars of two networks stand apart, in layers


def profile_figure(
    networks: Mapping[str, Sequence[LayerProfile]], differences: Sequence[LayerDifference], heading: str
) -> "Figure":
    """One row a quantity: on the left its share of the maximum in each network, on the right differences of shares.

    Args:
        networks: by name, with the same layers, measured with replicates.
        differences: of layers; each is drawn at its layer.
        heading: what the differences are.
    """
    from matplotlib.figure import Figure

    looks = styles(networks)
    names = [layer.layer for layer in next(iter(networks.values()))]
    with drawing():
        figure = Figure(figsize=_SIZE, layout="constrained")
        panels = figure.subplots(len(QUANTITIES), 2, sharex=True)
        for (left, right), (quantity, title) in zip(panels, QUANTITIES.items(), strict=True):
            left.set_title(f"{title[0].upper()}{title[1:]}, share of maximum")
            for place, (name, layers) in enumerate(networks.items()):
                aside = (place - (len(networks) - 1) / 2) * _ASIDE
                _shares(left, quantity, layers, aside, looks[name], name)
            fit(left)
            left.yaxis.set_major_formatter(lambda share, _place: f"{100 * share:.3g} %")
            right.set_title(heading)
            _differences(right, quantity, differences, names)
        for axes in panels[-1]:
            name_layers(axes, names)
            axes.set_xlim(-0.4, len(names) - 0.6)
        if len(networks) > 1:
            handles, labels = panels[0][0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False)
    return figure


def _shares(axes: "Axes", quantity: str, layers: Sequence[LayerProfile], aside: float, style: Style, name: str) -> None:
    bounded = [(place + aside, layer) for place, layer in enumerate(layers) if layer.maxima[quantity] > 0]
    places = [place for place, _ in bounded]
    shares = [getattr(layer, quantity) / layer.maxima[quantity] for _, layer in bounded]
    ends = [[end / layer.maxima[quantity] for end in layer.interval(quantity)] for _, layer in bounded]
    axes.vlines(places, [low for low, _ in ends], [high for _, high in ends], colors=style.colour, linewidth=1.2)
    axes.plot(
        places,
        shares,
        label=name,
        color=style.colour,
        marker=style.marker,
        linestyle=style.line,
        linewidth=1.2,
        markersize=4,
        markeredgecolor="white",
        markeredgewidth=0.5,
    )


def _differences(axes: "Axes", quantity: str, differences: Sequence[LayerDifference], names: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    bounded = [difference for difference in differences if quantity in difference.shares]
    places = [names.index(difference.layer) for difference in bounded]
    shares = [difference.shares[quantity] for difference in bounded]
    axes.axhline(0, color="#767676", linewidth=0.8)
    axes.bar(places, [share.value for share in shares], width=0.6, color="#9ecae1")
    ends = [share.interval for share in shares]
    axes.vlines(places, [low for low, _ in ends], [high for _, high in ends], colors="#333333")
    axes.margins(y=0.12)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(lambda share, _place: f"{100 * share:+.3g}".replace("-", "−") if share else "0")
