"""The plot of the paper's experiment: the share of images that break, against the radius."""

from typing import TYPE_CHECKING

import numpy as np

from retemper.report.axes import share_axes
from retemper.report.svg import drawing
from retemper.studies.broken import SPLITS, Network, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Blue and vermilion of Okabe & Ito (2008), told apart with any kind of colour vision.
_COLOURS = ("#0072B2", "#D55E00")
_LINES = dict(zip(SPLITS, ("--", "-"), strict=True))


def broken_figures(outcome: Outcome) -> dict[str, "Figure"]:
    """One figure a budget; a thick line is the mean over seeds, a thin one each seed on test images.

    A line is the share of rightly answered images with an adversarial example within the radius; all of it is a
    lower bound.
    """
    reach = max(outcome.experiment.radii)
    radii = np.linspace(0, reach, 201)[1:]
    figures = {}
    for budget, epochs in outcome.experiment.budgets.items():
        with drawing():
            figure, axes = share_axes(f"images that break, {epochs} epochs", "L2 radius")
            for loss, colour in zip(outcome.chosen, _COLOURS, strict=True):
                for split, line in _LINES.items():
                    each = [_shares(network, split, radii) for network in outcome.of(loss, budget)]
                    label = f"{loss}, {split}"
                    axes.plot(radii, np.mean(each, axis=0), line, color=colour, linewidth=1.5, label=label)
                    if split == "test":
                        for shares in each:
                            axes.plot(radii, shares, color=colour, linewidth=0.5, alpha=0.6)
            axes.set_xlim(0, reach)
            axes.legend(frameon=False, fontsize=7.5)
        figures[budget] = figure
    return figures


def _shares(network: Network, split: str, radii: np.ndarray) -> list[float]:
    return [float(network.splits[split].broken(radius).mean()) for radius in radii]
