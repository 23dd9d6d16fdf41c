import pytest
import torch
from torch import Tensor, nn

from retemper.errors import ModelError
from retemper.evaluation.judged import Judge


class Random(nn.Module):
    """Answers 1 with the probability that the input says, 0 otherwise; 2 never."""

    def forward(self, inputs: Tensor) -> Tensor:
        one = (torch.rand(len(inputs)) < inputs[:, 0]).float()
        return torch.stack([1 - one, one, torch.full_like(one, -1.0)], 1)


def test_without_randomness_the_answer_is_the_largest_logit() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)), torch.rand(20, 4)
    answers, outputs = Judge(model)(inputs)
    expected = model[0](inputs)
    torch.testing.assert_close(outputs, expected.detach())
    assert answers.tolist() == [max(range(3), key=row.__getitem__) for row in expected.tolist()]
    assert model.training


def test_a_random_answer_is_that_of_the_majority() -> None:
    inputs = torch.tensor([[0.0], [0.1], [0.9], [1.0]] * 10)
    answers, outputs = Judge(Random(), draws=25)(inputs)
    assert answers.tolist() == [0, 0, 1, 1] * 10
    assert outputs.shape == (40, 3)
    assert outputs.argmax(1).tolist() != answers.tolist(), "one draw alone is wrong somewhere"


def test_the_same_question_gets_the_same_answer_and_the_global_generator_stays() -> None:
    judge, inputs = Judge(Random(), draws=3), torch.full((50, 1), 0.5)
    before = torch.get_rng_state()
    (answers, outputs), (again, outputs_again) = judge(inputs), judge(inputs)
    assert torch.equal(answers, again)
    assert torch.equal(outputs, outputs_again)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_a_block_draws_is_repeatable_only_for_random_models() -> None:
    judge, steady = Judge(Random(), draws=3), Judge(Random())
    drawn = []
    for seed in (1, 1, 2):
        with judge.repeatable(seed):
            drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[1] != drawn[2]
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with steady.repeatable(5):
        assert torch.equal(torch.rand(3), expected)


def test_nan_is_refused() -> None:
    with pytest.raises(ModelError, match="NaN"):
        Judge(nn.Linear(2, 3))(torch.full((1, 2), torch.nan))
