import numpy as np

from retemper.studies.attacking import Attacked
from retemper.studies.broken import Experiment, Network, Outcome
from retemper.studies.broken_plot import broken_figures
from retemper.threats import L2


def test_a_line_is_the_mean_share_of_all_seeds_that_breaks_within_each_radius() -> None:
    experiment = Experiment(threats=(L2(1.0), L2(2.0)), seeds=2)
    splits = [
        {name: Attacked(known > 0, known) for name in ("train", "test")}
        for known in (np.array([0, 0.5, 1.5, np.inf]), np.array([0.5, 0.5, 0.5, np.inf]))
    ]
    networks = tuple(
        Network(loss, budget, seed, 0, splits[seed])
        for loss in ("cross-entropy", "differential")
        for budget in experiment.budgets
        for seed in range(2)
    )
    figures = broken_figures(Outcome(experiment, {"cross-entropy": "a", "differential": "b"}, (), networks))
    assert figures.keys() == experiment.budgets.keys()
    for figure in figures.values():
        (axes,) = figure.axes
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert [text.get_text() for text in axes.get_legend().get_texts()] == [
            f"{loss}, {split}" for loss in ("cross-entropy", "differential") for split in ("train", "test")
        ]
        radii, shares = lines["differential, test"].get_data()
        expected = {0.4: 0, 1.0: (1 / 3 + 3 / 4) / 2, 1.9: (2 / 3 + 3 / 4) / 2}
        for radius, share in expected.items():
            assert shares[np.argmin(np.abs(np.asarray(radii) - radius))] == share
        assert len(axes.get_lines()) == 8, "four means, and on test images each seed of both losses"
