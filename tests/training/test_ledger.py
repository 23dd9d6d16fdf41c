import pytest
import torch

from retemper.errors import DivergenceError
from retemper.objectives import Loss
from retemper.training import ledger
from retemper.training.ledger import Ledger

CPU = torch.device("cpu")


def loss(first: float, second: float) -> Loss:
    parts = {"cross-entropy": torch.tensor(first), "input-gradient": torch.tensor(second)}
    return Loss(torch.tensor(first + second), parts)


def test_it_gives_the_mean_of_every_term() -> None:
    noted = Ledger(CPU, 1, "")
    for first, second in [(1.0, 0.5), (2.0, 0.25), (6.0, 0.0)]:
        noted.add(loss(first, second))
    assert noted.close() == {"loss": 3.25, "cross-entropy": 3.0, "input-gradient": 0.25}


@pytest.mark.parametrize("window", [1, 4, 100])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_it_names_the_first_step_and_the_term_however_seldom_it_looks(
    window: int, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "WINDOW", window)
    noted = Ledger(torch.device("meta"), 3, "The last good checkpoint is here.")

    def run() -> None:
        for step in range(1, 11):
            noted.add(loss(1.0, bad if step >= 6 else 0.5))
        noted.close()

    with pytest.raises(
        DivergenceError, match=r"step 6 of epoch 3: input-gradient is (nan|inf)\. The last good"
    ) as error:
        run()
    assert "cross-entropy is" not in str(error.value)


def test_on_the_cpu_it_looks_before_the_weights_move() -> None:
    with pytest.raises(DivergenceError):
        Ledger(CPU, 1, "").add(loss(float("nan"), 0.0))


def test_finite_terms_with_an_infinite_sum_are_all_named() -> None:
    huge = torch.tensor(3e38)
    with pytest.raises(DivergenceError, match=r"a is 3.*, b is 3"):
        Ledger(CPU, 1, "").add(Loss(huge + huge, {"a": huge, "b": huge}))
