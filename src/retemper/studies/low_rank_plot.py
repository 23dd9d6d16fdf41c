"""The plot of the low-rank study."""

from typing import TYPE_CHECKING

from retemper.report.axes import share_axes
from retemper.report.style import styles
from retemper.report.svg import drawing
from retemper.studies.low_rank import LowRank

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def low_rank_figure(study: LowRank) -> "Figure":
    """Margins over the SVM's against the constant offset; one line a shift.

    Lines are what theory says of cross-entropy, markers on them what its training reached; circles along the top are
    differential training's smallest share over all shifts. To be saved inside `drawing`.
    """
    names = {shift: f"shift {shift:g}" for shift in study.shifts}
    looks = styles(names.values())
    places = range(len(study.offsets))
    with drawing():
        figure, axes = share_axes("Margin as a share of the SVM's", "constant offset of the features")
        figure.set_size_inches(5.6, 3.4)
        least = [min(study.share("differential", offset, shift) for shift in study.shifts) for offset in study.offsets]
        axes.plot(
            places,
            least,
            label="differential,\nevery shift",
            linestyle="none",
            marker="o",
            markersize=10,
            markerfacecolor="none",
            markeredgecolor="#595959",
            markeredgewidth=1.5,
            clip_on=False,
        )
        for shift, name in names.items():
            limits = [study.share("limit", offset, shift) for offset in study.offsets]
            reached = [study.share("cross_entropy", offset, shift) for offset in study.offsets]
            axes.plot(places, limits, color=looks[name].colour, linewidth=1.5)
            axes.plot(
                places,
                reached,
                label=name,
                color=looks[name].colour,
                linestyle="none",
                marker=looks[name].marker,
                markeredgecolor="white",
                markeredgewidth=0.5,
            )
        axes.set_xticks(places, [f"{offset:g}" for offset in study.offsets])
        figure.legend(
            title="cross-entropy:\nlines in theory,\nmarkers trained",
            loc="outside right upper",
            frameon=False,
            alignment="left",
        )
    return figure
