"""Our positions against d2l's, torch.nn's and independent formulas in double precision."""

import cmath
import math

import pytest
import torch
from torch import Tensor, nn

from course_lib.positions import LearnedPositions, SinusoidalPositions, rotate, sinusoidal_positions
from course_lib.torchvision_ops import define_missing_torchvision_ops

define_missing_torchvision_ops()
from d2l import torch as d2l  # noqa: E402


@pytest.mark.parametrize("d_model", [2, 6, 32, 128])
def test_sinusoidal_positions_equal_d2ls(d_model):
    ours, theirs = SinusoidalPositions(d_model=d_model, max_len=60), d2l.PositionalEncoding(d_model, 0, 60)
    x = torch.randn(3, 50, d_model)
    # d2l computes its angles in single precision: at position 50 that is 50 · 2⁻²⁴ ≈ 3e-6.
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.table, theirs.P[0], rtol=0, atol=1e-5)


def by_formula(length: int, d_model: int) -> Tensor:
    """Compute the paper's formula number by number, without a tensor operation."""
    rows = []
    for p in range(length):
        row = []
        for column in range(d_model):
            angle = p / 10_000 ** ((column - column % 2) / d_model)
            row.append(math.cos(angle) if column % 2 else math.sin(angle))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("d_model", [2, 6, 64])
def test_sinusoidal_positions_equal_the_formula_in_double_precision(d_model):
    ours = sinusoidal_positions(700, d_model, dtype=torch.float64)
    torch.testing.assert_close(ours, by_formula(700, d_model), rtol=0, atol=1e-12)


def test_halves_are_all_sines_of_the_formula_and_then_all_cosines():
    formula = by_formula(90, 12)
    ours = sinusoidal_positions(90, 12, layout="halves", dtype=torch.float64)
    torch.testing.assert_close(ours[:, :6], formula[:, 0::2], rtol=0, atol=1e-12)
    torch.testing.assert_close(ours[:, 6:], formula[:, 1::2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("start", [0, 7])
def test_learned_positions_equal_an_embedding_of_the_positions(start):
    ours, reference = LearnedPositions(d_model=6, max_len=12), nn.Embedding(12, 6)
    with torch.no_grad():
        ours.table.copy_(reference.weight)
    x = torch.randn(2, 5, 6)
    expected = x + reference(torch.arange(start, start + 5))
    torch.testing.assert_close(ours(x, start), expected)
    mix = torch.randn_like(x)
    (of_ours,) = torch.autograd.grad((ours(x, start) * mix).sum(), ours.table)
    (of_theirs,) = torch.autograd.grad((expected * mix).sum(), reference.weight)
    torch.testing.assert_close(of_ours, of_theirs)


@pytest.mark.parametrize("start", [0, 1, 40])
def test_rotating_equals_multiplying_by_a_complex_number_of_length_1(start):
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    expected = torch.empty_like(x)
    for t in range(5):
        for pair in range(4):
            turn = cmath.exp(1j * (start + t) * 10_000 ** (-2 * pair / 8))
            numbers = torch.complex(x[:, :, t, 2 * pair], x[:, :, t, 2 * pair + 1]) * turn
            expected[:, :, t, 2 * pair], expected[:, :, t, 2 * pair + 1] = numbers.real, numbers.imag
    torch.testing.assert_close(rotate(x, start), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("start", [0, 4])
def test_rotating_halves_equals_the_form_with_a_half_turned_copy(start):
    """Published language models write x · cos + (−second half, first half) · sin."""
    x = torch.randn(2, 3, 7, 8, dtype=torch.float64)
    angles = torch.tensor(
        [[(start + t) * 10_000 ** (-2 * pair / 8) for pair in (0, 1, 2, 3) * 2] for t in range(7)],
        dtype=torch.float64,
    )
    copy = torch.cat([-x[..., 4:], x[..., :4]], dim=-1)
    expected = x * angles.cos() + copy * angles.sin()
    torch.testing.assert_close(rotate(x, start, layout="halves"), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", ["interleaved", "halves"])
def test_the_gradient_of_rotating_is_the_rotation_back(layout):
    x, back = (
        torch.randn(5, 8, dtype=torch.float64, requires_grad=True),
        torch.randn(5, 8, dtype=torch.float64),
    )
    rotate(x, 2, layout=layout).backward(back)
    assert x.grad is not None
    torch.testing.assert_close(rotate(x.grad, 2, layout=layout), back)


def test_the_two_layouts_of_rotate_are_the_same_up_to_the_order_of_the_numbers():
    x = torch.randn(5, 8, dtype=torch.float64)
    reordered = torch.cat([x[:, 0::2], x[:, 1::2]], dim=-1)
    interleaved = rotate(x, 3)
    by_halves = rotate(reordered, 3, layout="halves")
    torch.testing.assert_close(by_halves, torch.cat([interleaved[:, 0::2], interleaved[:, 1::2]], dim=-1))
