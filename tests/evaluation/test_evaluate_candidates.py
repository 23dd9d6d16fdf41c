"""What an attack returns counts only where it lies within the threat and the model, asked again, answers it wrongly."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retemper.data import Split
from retemper.evaluation import Attack, Robustness, evaluate
from retemper.threats import Linf, Threat

CHEATS: dict[str, Callable[[Tensor, Threat], Tensor]] = {
    "leaves the ball": lambda inputs, threat: 1 - inputs,
    "leaves the bounds": lambda inputs, threat: inputs - threat.radius,
    "returns NaN": lambda inputs, threat: inputs * torch.nan,
    "returns one NaN": lambda inputs, threat: inputs.index_fill(3, torch.tensor(1), torch.nan),
    "returns infinity": lambda inputs, threat: inputs + torch.inf,
}


def attacked(model: nn.Module, split: Split, run: Callable[..., Tensor], radius: float = 0.1) -> Robustness:
    attacks = [Attack("stub", "stub", run)]
    return evaluate(model, split, [Linf(radius)], attacks=attacks, keep=3, alarms=False, progress=False).robustness[0]


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheating_attack_breaks_nothing(cheat: str) -> None:
    class Picky(nn.Module):
        """Answers 0 on its own images alone, and NaN where it is asked for NaN."""

        def forward(self, inputs: Tensor) -> Tensor:
            own = ((inputs - originals[:, None]).flatten(2).abs().amax(2) < 1e-6).any(0)
            score = own.float() + 0 * inputs.sum((1, 2, 3))
            return torch.stack([score, 0.5 + 0 * score], 1)

    originals = torch.rand(8, 1, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.05
    split = Split(originals, torch.zeros(8, dtype=torch.int64))
    found = attacked(Picky(), split, lambda model, inputs, labels, threat, noise: CHEATS[cheat](inputs, threat))
    assert found.accuracy == 1
    assert found.examples == ()
    assert attacked(Picky(), split, lambda model, inputs, labels, threat, noise: inputs + 0.09).accuracy == 0


def test_a_candidate_outside_does_not_count_even_if_the_model_changes_its_mind() -> None:
    class Moody(nn.Module):
        answer = 0

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.eye(2)[self.answer].expand(len(inputs), 2)

    def cheat(model: Moody, inputs: Tensor, *_others: Any) -> Tensor:
        model.answer = 1
        return inputs + 0.5

    split = Split(torch.zeros(4, 1, 3, 3), torch.zeros(4, dtype=torch.int64))
    assert attacked(Moody(), split, cheat).accuracy == 1


def test_one_cheated_image_does_not_spoil_the_others_of_its_batch(small_float32: Any) -> None:
    def half_honest(_model: nn.Module, inputs: Tensor, labels: Tensor, *_others: Any) -> Tensor:
        # Images of another class, anywhere in the batch: all of them are answered rightly.
        candidates = torch.stack([inputs[labels != label][0] for label in labels])
        candidates[::2] = torch.nan
        return candidates

    split = Split(*small_float32.split.batch(slice(10, 30)))
    found = attacked(small_float32.model, split, half_honest, radius=1.0)
    assert found.standing.tolist() == [True, False] * 10


def test_an_adversarial_input_is_asked_again_and_does_not_count_unless_it_is_answered_wrongly(
    small_float32: Any,
) -> None:
    found = attacked(small_float32.model, small_float32.split, lambda model, inputs, labels, threat, noise: inputs)
    assert found.standing.tolist() == [False] * 10 + [True] * 50
