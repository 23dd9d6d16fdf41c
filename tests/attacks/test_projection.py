"""The way onto a plane inside a box, against a linear programme and against all faces of the box, one by one."""

import itertools

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from retemper.attacks.projection import way_onto_plane
from retemper.threats import L2, NORMS, Linf

BOUNDS = (-1.0, 2.0)
numbers = st.floats(-3, 3).map(lambda number: round(number, 2))  # zeros and ties are likely
places = st.floats(*BOUNDS).map(lambda number: round(number, 1))  # and so are points on the bounds
cases = st.integers(1, 5).flatmap(
    lambda size: st.tuples(
        st.lists(places, min_size=size, max_size=size),
        st.lists(numbers, min_size=size, max_size=size),
        st.floats(-10, 10),
    )
)
Case = tuple[list[float], list[float], float]


def way(point: list[float], normal: list[float], rise: float, norm: str) -> np.ndarray:
    tensors = (torch.tensor([numbers], dtype=torch.float64) for numbers in (point, normal))
    return way_onto_plane(*tensors, torch.tensor([rise], dtype=torch.float64), NORMS[norm](0.1, BOUNDS))[0].numpy()


def reach(point: list[float], normal: list[float], rise: float) -> float:
    """How far the product can get towards `rise` inside the box."""
    ends = [weight * (bound - start) for start, weight in zip(point, normal, strict=True) for bound in BOUNDS]
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    return sum(max(pair) for pair in pairs) if rise > 0 else sum(min(pair) for pair in pairs)


def check_feasible(found: np.ndarray, point: list[float], normal: list[float], rise: float) -> None:
    """Inside the box, and on the plane or else in the corner nearest to it."""
    ends = np.array(point) + found
    assert (ends >= BOUNDS[0] - 1e-12).all()
    assert (ends <= BOUNDS[1] + 1e-12).all()
    furthest = reach(point, normal, rise)
    expected = min(rise, furthest) if rise > 0 else max(rise, furthest)
    assert abs(found @ np.array(normal) - expected) < 1e-9


@given(cases)
@settings(deadline=None, max_examples=200)
def test_linf_is_the_optimum_of_a_linear_programme(case: Case) -> None:
    point, normal, rise = case
    found = way(point, normal, rise, "linf")
    check_feasible(found, *case)
    assume(abs(reach(*case)) > abs(rise) + 1e-6)
    size = len(point)
    above = np.hstack([np.eye(size), -np.ones((size, 1))])
    below = np.hstack([-np.eye(size), -np.ones((size, 1))])
    best = linprog(
        [0.0] * size + [1.0],
        A_ub=np.vstack([above, below]),
        b_ub=np.zeros(2 * size),
        A_eq=[[*normal, 0.0]],
        b_eq=[rise],
        bounds=[(BOUNDS[0] - start, BOUNDS[1] - start) for start in point] + [(0, None)],
    )
    assert best.success
    assert abs(np.abs(found).max() - best.fun) < 1e-7


@given(cases)
@settings(deadline=None, max_examples=200)
def test_l2_is_the_shortest_over_all_faces_of_the_box(case: Case) -> None:
    point, normal, rise = case
    found = way(point, normal, rise, "l2")
    check_feasible(found, *case)
    assume(abs(reach(*case)) > abs(rise) + 1e-6)
    start, weight = np.array(point), np.array(normal)
    shortest = np.inf
    for face in itertools.product((BOUNDS[0], BOUNDS[1], None), repeat=len(point)):
        free = np.array([bound is None for bound in face])
        move = np.array([0.0 if bound is None else bound for bound in face]) - start
        move[free] = 0
        left, size = rise - weight @ move, (weight[free] ** 2).sum()
        if size > 0:
            move[free] = left / size * weight[free]
        elif abs(left) > 1e-9:
            continue
        if (start + move >= BOUNDS[0] - 1e-9).all() and (start + move <= BOUNDS[1] + 1e-9).all():
            shortest = min(shortest, float(np.linalg.norm(move)))
    assert abs(np.linalg.norm(found) - shortest) < 1e-7


def test_rows_of_a_batch_do_not_touch_each_other_and_keep_their_shape() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(50, 1, 3, 4, generator=generator)
    normals = torch.randn(50, 1, 3, 4, generator=generator)
    rises = torch.linspace(-6, 6, 50)
    for threat in (Linf(0.1), L2(0.1)):
        together = way_onto_plane(points, normals, rises, threat)
        alone = [
            way_onto_plane(*row, threat) for row in zip(points.split(1), normals.split(1), rises.split(1), strict=True)
        ]
        assert together.shape == points.shape
        torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)


def test_no_normal_and_no_rise_give_no_way() -> None:
    points = torch.full((2, 3), 0.5)
    normals = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    for threat in (Linf(0.1), L2(0.1)):
        assert not way_onto_plane(points, normals, torch.tensor([1.0, 0.0]), threat).any()


def test_infinite_bounds_are_no_bounds() -> None:
    normals = torch.tensor([[3.0, -4.0]])
    rise = torch.tensor([50.0])
    infinite = (-float("inf"), float("inf"))
    l2 = way_onto_plane(torch.zeros(1, 2), normals, rise, L2(1, infinite))
    torch.testing.assert_close(l2, torch.tensor([[6.0, -8.0]], dtype=torch.float64))
    linf = way_onto_plane(torch.zeros(1, 2), normals, rise, Linf(1, infinite))
    torch.testing.assert_close(linf, torch.tensor([[50 / 7, -50 / 7]], dtype=torch.float64))
