from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper.evaluation.randomised import Expectation
from retemper.evaluation.views import BeforeSoftmax, Double, Estimated, Rescaled, StraightThrough
from retemper.models import logits
from retemper.threats import L2, Linf


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.to(dtype)


class Rounded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network((inputs * 7).round() / 7)


VIEWS = {
    "double": Double,
    "straight-through": StraightThrough,
    "estimated": lambda model: Estimated(model, Linf(0.1)),
    "expectation": Expectation,
}


@pytest.mark.parametrize("model", [network(), Rounded()], ids=["smooth", "rounded"])
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_gives_the_models_own_answers_in_the_inputs_type(name: str, model: nn.Module) -> None:
    view = VIEWS[name](model)
    inputs = torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(1))
    for candidates in (inputs, inputs.clone().requires_grad_()):
        outputs = view(candidates)
        assert outputs.dtype == torch.float32
        assert torch.allclose(outputs, model(inputs), atol=1e-5)


def test_views_leave_generators_flags_and_weights_alone() -> None:
    model, inputs = Rounded(), torch.rand(4, 3, 4)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    views = [make(model) for make in VIEWS.values()] + [Rescaled(model, inputs), BeforeSoftmax(model)]
    for view in views:
        candidates = inputs.clone().requires_grad_()
        torch.autograd.grad(view(candidates).sum(), candidates, allow_unused=True)
        with torch.no_grad():
            assert not view(candidates).requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(value.dtype == torch.float32 and value.grad is None for value in model.parameters())
    assert torch.is_grad_enabled()


def test_rescaled_logits_keep_their_order_and_the_median_span_is_ten() -> None:
    model, inputs = network(), torch.rand(7, 12)
    outputs, scaled = model(inputs), Rescaled(model, inputs)(inputs)
    assert torch.equal(scaled.argsort(1), outputs.argsort(1))
    assert (scaled.amax(1) - scaled.amin(1)).median().item() == pytest.approx(10, rel=1e-5)
    huge = nn.Sequential(model, Scaled(1e6))
    assert torch.allclose(Rescaled(huge, inputs)(inputs), scaled, rtol=1e-4)


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, inputs: Tensor) -> Tensor:
        return self.factor * inputs


def test_float64_tells_gradients_that_float32_rounds_to_zero() -> None:
    class Saturated(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            score = torch.tanh(20 * inputs.sum(1))
            return torch.stack([score, -score], dim=1)

    def slope(view: nn.Module, inputs: Tensor) -> Tensor:
        inputs = inputs.clone().requires_grad_()
        return torch.autograd.grad(logits(view, inputs)[:, 0].sum(), inputs)[0]

    inputs = torch.full((1, 2), 0.3)
    assert not slope(Saturated(), inputs).any()
    exact = 20 / torch.cosh(torch.tensor(20 * 0.6, dtype=torch.float64)) ** 2
    # float32 holds 0.3 only to 1e-8, which 40 times steeper exponents turn into 1e-6.
    assert torch.allclose(slope(Double(Saturated()), inputs.double()), exact.expand(1, 2), rtol=1e-5)


SOFTMAXES = {
    "functional": lambda scores: F.softmax(scores, dim=1),
    "torch": lambda scores: torch.softmax(scores, 1),
    "method": lambda scores: scores.softmax(dim=-1),
    "module": nn.Softmax(dim=1),
    "sigmoid": torch.sigmoid,
    "keyword": lambda scores: F.softmax(input=scores, dim=1),
}


class Ends(nn.Module):
    def __init__(self, end: str, scale: float = 100) -> None:
        super().__init__()
        self.network, self.scale, self.end = network(), scale, SOFTMAXES[end]

    def forward(self, inputs: Tensor) -> Tensor:
        attention = torch.softmax(inputs.flatten(1), dim=1)  # one that the model does not end with
        return self.end(self.scale * self.network(inputs + 0 * attention.view_as(inputs)))


@pytest.mark.parametrize("end", SOFTMAXES)
def test_what_goes_into_the_softmax_is_seen_bit_for_bit_with_its_gradient(end: str) -> None:
    model = Ends(end)
    inputs = torch.rand(5, 3, 4, requires_grad=True)
    scores = 100 * model.network(inputs)
    seen = BeforeSoftmax(model)(inputs)
    assert torch.allclose(seen, scores)
    theirs, ours = (torch.autograd.grad(values[:, 0].sum(), inputs)[0] for values in (scores, seen))
    assert torch.allclose(ours, theirs)


def test_a_softmax_that_cannot_be_seen_is_undone_by_the_log() -> None:
    class ByHand(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            powers = inputs.exp()
            return powers / powers.sum(1, keepdim=True)

    inputs = torch.tensor([[1.0, 2.0, 0.5], [500.0, 1.0, 0.0]]) / 10
    assert torch.allclose(BeforeSoftmax(ByHand())(inputs), F.log_softmax(inputs, 1), atol=1e-5)
    assert BeforeSoftmax(ByHand())(torch.tensor([[0.0, -300.0]])).isfinite().all()


def steps() -> dict[str, Callable[[Tensor], Tensor]]:
    def rounded_in_place(inputs: Tensor) -> Tensor:
        scaled = inputs * 4
        return scaled.round_() / 4

    def without_graph(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return inputs * 1

    def in_inference_mode(inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            return inputs * 1

    return {
        "round": lambda x: torch.round(4 * x) / 4,
        "method": lambda x: (4 * x).floor() / 4,
        "ceil": lambda x: (4 * x).ceil() / 4,
        "in place": rounded_in_place,
        "sign": lambda x: torch.sign(x - 0.5),
        "remainder": lambda x: x - x % 0.25,
        "floor division": lambda x: (x // 0.25) * 0.25,
        "uint8": lambda x: (x * 255).to(torch.uint8).float() / 255,
        "byte": lambda x: (x * 255).byte() / 255.0,
        "long twice": lambda x: (x * 255).int().long().to(torch.float32) / 255,
        "above": lambda x: (x > 0.5).float(),
        "mask": lambda x: 1.0 * (x >= 0.5),
        "detach": lambda x: x.detach(),
        "data": lambda x: x.data,
        "no_grad": without_graph,
        "inference_mode": in_inference_mode,
    }


@pytest.mark.parametrize("name", steps())
def test_a_step_keeps_its_values_and_passes_the_gradient_of_the_identity(name: str) -> None:
    class Stepped(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return steps()[name](inputs) * torch.tensor([2.0, 3.0])

    inputs = torch.rand(6, 2, requires_grad=True)
    outputs = StraightThrough(Stepped())(inputs)
    assert torch.equal(outputs, Stepped()(inputs.detach()))
    (gradient,) = torch.autograd.grad(outputs.sum(), inputs)
    assert torch.allclose(gradient, torch.tensor([2.0, 3.0]).expand(6, 2))


def test_below_falls_where_the_input_rises() -> None:
    class Below(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return (inputs < 0.5).float()

    inputs = torch.rand(3, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(StraightThrough(Below())(inputs).sum(), inputs)
    assert torch.equal(gradient, -torch.ones(3, 2))


def test_a_smooth_model_keeps_its_own_gradient() -> None:
    model, inputs = network(), torch.rand(4, 12, requires_grad=True)
    ours, theirs = (
        torch.autograd.grad(view(inputs).square().sum(), inputs)[0] for view in (StraightThrough(model), model)
    )
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("threat", [Linf(0.2, (-9, 9)), L2(0.5, (-9, 9))], ids=str)
def test_the_estimate_of_a_linear_models_gradient_is_its_weights(threat: Linf | L2) -> None:
    linear = nn.Linear(6, 3, dtype=torch.float64)
    view = Estimated(linear, threat, pairs=4000)
    inputs = torch.rand(2, 6, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64).expand(2, 3)
    (gradient,) = torch.autograd.grad((view(inputs) * weights).sum(), inputs)
    exact = (weights @ linear.weight).detach()
    # Each coordinate errs by the length of the others over the square root of the pairs.
    assert torch.allclose(gradient, exact, atol=5 * float(exact.norm(dim=1).max()) / 4000**0.5)
    assert not torch.equal(gradient[0], gradient[1])


def test_a_step_function_is_estimated_smoothed() -> None:
    class Step(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return (inputs > 0).float()

    # One coordinate: half a radius each way of the step, (1 - 0) over the radius; out of reach, nothing.
    inputs = torch.tensor([[0.05], [0.5]], requires_grad=True)
    (gradient,) = torch.autograd.grad(Estimated(Step(), Linf(0.2, (-1, 1)))(inputs).sum(), inputs)
    assert gradient.tolist() == [[pytest.approx(5.0)], [0.0]]


def test_no_question_leaves_the_bounds() -> None:
    class Strict(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            assert inputs.min() >= 0
            assert inputs.max() <= 1
            return inputs

    inputs = torch.tensor([[0.0, 1.0, 0.5]], requires_grad=True)
    torch.autograd.grad(Estimated(Strict(), Linf(0.3))(inputs).sum(), inputs)


def test_estimates_are_the_same_again_and_hang_on_no_neighbour() -> None:
    view, inputs = Estimated(network(), Linf(0.1)), torch.rand(5, 12)

    def gradient(some: Tensor) -> Tensor:
        some = some.clone().requires_grad_()
        return torch.autograd.grad(view(some)[:, 1].sum(), some)[0]

    whole = gradient(inputs)
    assert torch.equal(gradient(inputs), whole)
    assert torch.allclose(gradient(inputs[3:]), whole[3:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(gradient(inputs + 1e-6), whole, rtol=1e-2, atol=1e-3)


def test_both_ends_of_a_direction_meet_the_same_draw() -> None:
    class Offset(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs + 1e3 * torch.randn(1)

    inputs = torch.rand(2, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(Estimated(Offset(), Linf(0.2, (-1, 2)), pairs=2000)(inputs)[:, 0].sum(), inputs)
    # Two draws would leave an error of a thousand over the radius; rounding of a thousand leaves 1e-4 over 0.2.
    assert torch.allclose(gradient[:, 0], torch.ones(2), atol=0.05)
