import torch

from retemper.attacks.found import Found


def test_adversarial_inputs_are_kept_and_else_the_highest() -> None:
    inputs = torch.zeros(3, 2)
    found = Found(inputs)
    assert found.standing().tolist() == [0, 1, 2]

    def record(places: list[int], value: float, losses: list[float], fallen: list[bool]) -> list[bool]:
        points = torch.full((len(places), 2), value)
        return found.record(torch.tensor(places), points, torch.tensor(losses), torch.tensor(fallen)).tolist()

    assert record([0, 1, 2], 1.0, [-5.0, -5.0, -5.0], [False, False, False]) == [True, True, True]
    # Adversarial though the loss is lower; higher; neither, and NaN is never higher.
    assert record([0, 1, 2], 2.0, [-6.0, -4.0, float("nan")], [True, False, False]) == [False, True, True]
    assert found.standing().tolist() == [1, 2]
    assert record([1, 2], 3.0, [-4.5, -4.5], [False, True]) == [True, False]
    assert found.points[:, 0].tolist() == [2.0, 2.0, 3.0]
    assert found.fallen.tolist() == [True, False, True]
    assert not inputs.any()
