import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from retemper.errors import SettingError
from retemper.noise import Noise
from retemper.threats import L2, NORMS, Linf, Threat, parse, several

SHAPES = st.sampled_from([(1, 1), (3, 7), (2, 3, 4, 4), (2, 1, 9, 9), (2, 2, 2, 3, 2)])
DTYPES = st.sampled_from([torch.float32, torch.float64])
RADII = st.floats(1e-4, 3)
BOUNDS = st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.0, 0.9), (-2.1179, 2.64), (0.0, 255.0), (-math.inf, math.inf)])
SEEDS = st.integers(0, 2**31)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Threat, Tensor, Tensor]:
    """A threat, inputs within its bounds (many on the edge), and candidates anywhere."""
    threat = NORMS[draw(st.sampled_from(["linf", "l2"]))](draw(RADII), draw(BOUNDS))
    low, high = (edge if math.isfinite(edge) else math.copysign(5, edge) for edge in threat.bounds)
    generator = torch.Generator().manual_seed(draw(SEEDS))
    shape, dtype = draw(SHAPES), draw(DTYPES)
    inputs = (low + (high - low) * (1.5 * torch.rand(shape, generator=generator, dtype=dtype) - 0.25)).clamp(low, high)
    spread = draw(st.sampled_from([0.1, 1.0, 30.0])) * threat.radius
    candidates = inputs + spread * torch.randn(shape, generator=generator, dtype=dtype)
    return threat, inputs, candidates


def excess(threat: Threat, points: Tensor, inputs: Tensor) -> float:
    """By how many roundings of the largest number at hand the points leave the ball; worked out in numpy."""
    difference = points.double().numpy().astype(np.float64) - inputs.double().numpy()
    flat = np.abs(difference).reshape(len(inputs), -1)
    lengths = flat.max(1) if threat.norm == "linf" else np.sqrt((flat**2).sum(1))
    largest = max(points.abs().max(), inputs.abs().max(), threat.radius)
    return float((lengths.max() - threat.radius) / (torch.finfo(inputs.dtype).eps * largest))


def within(points: Tensor, bounds: tuple[float, float]) -> bool:
    return bool(((points >= bounds[0]) & (points <= bounds[1])).all())


@given(situations())
@settings(deadline=None)
def test_projected_points_are_inside_ball_and_bounds(situation: tuple[Threat, Tensor, Tensor]) -> None:
    threat, inputs, candidates = situation
    projected = threat.project(candidates, inputs)
    assert projected.dtype == inputs.dtype
    assert excess(threat, projected, inputs) <= 1
    assert within(projected, threat.bounds)
    assert threat.allows(projected, inputs).all()


@given(situations(), SEEDS)
@settings(deadline=None)
def test_random_starts_are_inside_ball_and_bounds(situation: tuple[Threat, Tensor, Tensor], seed: int) -> None:
    threat, inputs, _ = situation
    threat.check_inputs(inputs)
    start = threat.random_start(inputs, Noise.for_batch(inputs, seed))
    assert start.dtype == inputs.dtype
    assert excess(threat, start, inputs) <= 1
    assert within(start, threat.bounds)
    assert torch.equal(start, threat.random_start(inputs, Noise.for_batch(inputs, seed)))
    assert torch.equal(start[-1:], threat.random_start(inputs[-1:], Noise.for_batch(inputs, seed)[[-1]]))


@given(situations())
@settings(deadline=None)
def test_what_was_projected_passes_the_check_of_inputs(situation: tuple[Threat, Tensor, Tensor]) -> None:
    threat, inputs, candidates = situation
    threat.check_inputs(threat.project(candidates, inputs))


@given(situations())
@settings(deadline=None)
def test_projecting_twice_is_projecting_once_up_to_rounding(situation: tuple[Threat, Tensor, Tensor]) -> None:
    threat, inputs, candidates = situation
    once = threat.project(candidates, inputs)
    twice = threat.project(once, inputs)
    # A point near 0 is the sum of an input and a step that are not, and each projection rounds these some times.
    largest = max(float(once.abs().max()), float(inputs.abs().max()), threat.radius)
    torch.testing.assert_close(twice, once, rtol=0, atol=4 * torch.finfo(inputs.dtype).eps * largest)


@given(situations(), st.floats(0, 0.99))
@settings(deadline=None)
def test_points_inside_stay_where_they_are(situation: tuple[Threat, Tensor, Tensor], share: float) -> None:
    threat, inputs, candidates = situation
    inside = inputs + share * (threat.project(candidates, inputs) - inputs)
    inside = inside.clamp(*threat.bounds)
    kept = threat.distance(inside, inputs) <= threat.radius
    assert torch.equal(threat.project(inside, inputs)[kept], inside[kept])


@given(situations())
@settings(deadline=None)
def test_projection_equals_a_plain_loop_over_coordinates(situation: tuple[Threat, Tensor, Tensor]) -> None:
    threat, inputs, candidates = situation
    projected = threat.project(candidates, inputs)
    rounding = 2 * torch.finfo(inputs.dtype).eps * max(float(candidates.abs().max()), float(inputs.abs().max()), 3.0)
    for image in range(len(inputs)):
        origin = [float(value) for value in inputs[image].flatten()]
        moves = [float(value) - start for value, start in zip(candidates[image].flatten(), origin, strict=True)]
        if threat.norm == "linf":
            moves = [min(max(move, -threat.radius), threat.radius) for move in moves]
        else:
            length = math.sqrt(sum(move * move for move in moves))
            moves = [move * min(1, threat.radius / length) if length else move for move in moves]
        low, high = threat.bounds
        expected = [min(max(start + move, low), high) for start, move in zip(origin, moves, strict=True)]
        np.testing.assert_allclose(projected[image].double().flatten().numpy(), expected, rtol=0, atol=rounding)


def test_a_small_ball_in_many_dimensions_is_reached_to_its_edge() -> None:
    # Where the distance to the edge is of the size of all roundings together.
    inputs = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    candidates = (inputs + torch.randn(inputs.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    threat = L2(1e-3, bounds=(-1.0, 2.0))
    distance = threat.distance(threat.project(candidates, inputs), inputs)
    assert (distance <= 1e-3).all()
    assert (distance > 0.99e-3).all()


def test_random_starts_fill_the_ball_uniformly() -> None:
    inputs = torch.zeros(20000, 3, dtype=torch.float64)
    points = L2(2.0, (-9, 9)).random_start(inputs, Noise.for_batch(inputs))
    lengths = points.norm(dim=1)
    # P(length <= r) = (r / 2)^3 in a uniform ball.
    assert abs(float((lengths <= 1.0).double().mean()) - 1 / 8) < 0.01
    assert abs(float((lengths <= 1.6).double().mean()) - 0.512) < 0.015
    # Every direction alike: a third of a squared length to each coordinate, and no products of two.
    directions = points / lengths[:, None]
    torch.testing.assert_close(directions.T @ directions / 20000, torch.eye(3).double() / 3, rtol=0, atol=0.01)
    corner = Linf(2.0, (-9, 9)).random_start(inputs, Noise.for_batch(inputs))
    assert abs(float((corner.abs() <= 1).all(1).double().mean()) - 1 / 8) < 0.01


@given(st.sampled_from(["linf", "l2"]), SHAPES, DTYPES, SEEDS, st.sampled_from([1e-30, 1e-8, 1.0, 1e8, 1e30]))
@settings(deadline=None)
def test_steepest_has_norm_one_and_reaches_the_dual_norm(
    norm: str, shape: tuple[int, ...], dtype: torch.dtype, seed: int, scale: float
) -> None:
    gradient = scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    threat = NORMS[norm](0.5)
    direction = threat.steepest(gradient)
    assert direction.dtype == dtype
    flat, slope = direction.double().flatten(1), gradient.double().flatten(1)
    length = flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)
    dual = slope.abs().sum(1) if threat.dual == "l1" else slope.norm(dim=1)
    tolerance = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(length, torch.ones_like(length), rtol=tolerance, atol=0)
    torch.testing.assert_close((flat * slope).sum(1), dual, rtol=tolerance, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_gradient_stays_zero_beside_one_that_is_not(norm: str) -> None:
    gradient = torch.zeros(2, 3, 2, 2)
    gradient[1, 0] = 1e-30
    direction = NORMS[norm](0.5).steepest(gradient)
    assert not direction[0].any()
    assert direction[1].any()


def test_distances_are_those_of_numpy_in_float64() -> None:
    inputs, points = torch.rand(3, 2, 4, 4) / 3, torch.rand(3, 2, 4, 4)
    difference = (points.double() - inputs.double()).numpy().reshape(3, -1)
    np.testing.assert_allclose(L2(1).distance(points, inputs), np.linalg.norm(difference, axis=1), rtol=1e-14)
    np.testing.assert_array_equal(Linf(1).distance(points, inputs), np.abs(difference).max(1))


@pytest.mark.parametrize(
    "threat", [Linf(0.1), L2(0.1), Linf(0.1, (-math.inf, math.inf)), L2(0.1, (-math.inf, math.inf))]
)
def test_nothing_outside_the_ball_is_allowed(threat: Threat) -> None:
    inputs = torch.full((4, 6), 0.5)
    candidates = inputs.clone()
    candidates[1, 2] += 0.1
    candidates[2, 2] += 0.1 + 1e-6
    candidates[3, 2] = math.nan
    assert threat.allows(candidates, inputs).tolist() == [True, True, False, False]


def test_nothing_outside_the_bounds_is_allowed() -> None:
    inputs = torch.tensor([[0.0, 1.0]] * 3)
    candidates = inputs + torch.tensor([[0.0, 0.0], [-1e-6, 0.0], [0.0, 1e-6]])
    assert Linf(0.1).allows(candidates, inputs).tolist() == [True, False, False]


@pytest.mark.parametrize("bounds", [(0.0, 0.9), (0.1, 1.0), (-2.1179, 2.64)])
def test_inputs_on_the_rounded_bounds_are_accepted(bounds: tuple[float, float]) -> None:
    Linf(0.1, bounds).check_inputs(torch.tensor([bounds]))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (torch.full((2, 3), 0.5).half(), "float16"),
        (torch.zeros(2, 3, dtype=torch.uint8), "uint8"),
        (torch.zeros(0, 3), "(0, 3)"),
        (torch.zeros(3), "(3,)"),
        (torch.tensor([[0.5, math.nan]]), "NaN"),
        (torch.tensor([[0.5, math.inf]]), "infinity"),
        (torch.tensor([[-2.1, 2.3]]), "normalis"),
        (torch.tensor([[0.0, 255.0]]), "255"),
    ],
)
def test_bad_inputs_are_refused_by_name(inputs: Tensor, words: str) -> None:
    with pytest.raises(SettingError) as error:
        Linf(0.1).check_inputs(inputs)
    assert words in str(error.value)


@pytest.mark.parametrize("radius", [0.0, -0.1, math.nan, math.inf])
def test_a_radius_must_be_positive_and_finite(radius: float) -> None:
    with pytest.raises(SettingError, match="radius"):
        L2(radius)


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.5, 0.5), (math.nan, 1.0)])
def test_bounds_must_be_in_order(bounds: tuple[float, float]) -> None:
    with pytest.raises(SettingError, match="bounds"):
        Linf(0.1, bounds)


def test_threats_come_alone_or_several_and_nothing_else_does() -> None:
    assert several(Linf(0.1)) == (Linf(0.1),)
    assert several([Linf(0.1), L2(1.0)]) == (Linf(0.1), L2(1.0))
    with pytest.raises(SettingError, match="at least one threat"):
        several([])
    for wrong in ("linf:0.1", ["linf:0.1"], [Linf(0.1), "l2:1"]):
        with pytest.raises(SettingError, match=r"as retemper.threats.parse reads them, but got 'l"):
            several(wrong)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(SettingError, match=r"Linf\(8 / 255\), but got 0.1"):
        several([0.1])  # type: ignore[list-item]  # on purpose


def test_another_radius_keeps_norm_and_bounds() -> None:
    assert Linf(0.1, (-1.0, 1.0)).with_radius(0.2) == Linf(0.2, (-1.0, 1.0))
    assert Linf(0.1) != L2(0.1)


@given(
    st.sampled_from(["linf", "l2"]), st.one_of(RADII, st.integers(1, 765).map(lambda n: n / 255), st.floats(1e-9, 1e9))
)
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_back_exactly(norm: str, radius: float) -> None:
    threat = NORMS[norm](radius)
    if norm == "linf" and radius >= 1:
        with pytest.raises(SettingError, match=r"radius below 1.*is it linf:.*/255\?"):
            parse(str(threat))
    else:
        assert parse(str(threat)) == [threat]


@pytest.mark.parametrize(
    ("threat", "text"),
    [
        (Linf(8 / 255), "linf:8/255"),
        (Linf(0.3), "linf:0.3"),
        (L2(1), "l2:1"),
        (L2(0.2), "l2:0.2"),
        (L2(0.125), "l2:0.125"),
    ],
)
def test_threats_are_written_shortly(threat: Threat, text: str) -> None:
    assert str(threat) == text


@pytest.mark.parametrize(
    ("text", "threats"),
    [
        ("linf:8/255", [Linf(8 / 255)]),
        (" LINF:0.1, 0.3 ", [Linf(0.1), Linf(0.3)]),
        ("l2:1e-2,1/2,3", [L2(0.01), L2(0.5), L2(3.0)]),
    ],
)
def test_numbers_and_fractions_are_read(text: str, threats: list[Threat]) -> None:
    assert parse(text) == threats


@pytest.mark.parametrize(
    "text",
    [
        "",
        "linf",
        "linf:",
        ":0.1",
        "l1:0.1",
        "0.1",
        "linf 0.1",
        "linf:0.1:0.2",
        "linf:0.1,",
        "linf:,0.1",
        "linf:eight",
        "linf:8/",
        "linf:/255",
        "linf:8/0",
        "linf:-0.1",
        "linf:0",
        "linf:nan",
        "linf:inf",
        "linf:1e400",
        "linf:1e-400",
        "l2:0.5 l2:1",
    ],
)
def test_bad_spellings_are_refused(text: str) -> None:
    with pytest.raises(SettingError):
        parse(text)


def test_numbers_of_numpy_print_as_numbers_and_a_list_of_bounds_can_be_a_key() -> None:
    radius = np.linspace(0.01, 0.1, 7)[3]
    threat = Linf(radius, [0, 1])  # type: ignore[arg-type]
    assert parse(str(threat)) == [Linf(float(radius))]
    assert {threat: 1}[Linf(float(radius))] == 1


@pytest.mark.parametrize(("radius", "bounds"), [("far", (0, 1)), (None, (0, 1)), (0.1, 1), (0.1, (0, 1, 2))])
def test_what_is_no_number_is_refused_by_name(radius: object, bounds: object) -> None:
    with pytest.raises(SettingError, match="`radius` to be a number and `bounds` to be two"):
        Linf(radius, bounds)  # type: ignore[arg-type]
