"""positions: what they compute, what they refuse. Equality with d2l and other references stands in tests/parity."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.masks import causal_mask
from course_lib.positions import (
    LearnedPositions,
    RelativeBias,
    SinusoidalPositions,
    relative_distances,
    rotate,
    sinusoidal_positions,
)

layouts = pytest.mark.parametrize("layout", ["interleaved", "halves"])


def test_position_0_is_a_row_of_zeros_and_ones_and_the_first_pair_turns_by_one_radian_a_step():
    table = sinusoidal_positions(3, 6)
    assert table[0].tolist() == [0, 1, 0, 1, 0, 1]
    torch.testing.assert_close(table[2, :2], torch.tensor([math.sin(2), math.cos(2)]))


def test_the_exponent_of_pair_i_is_2i_over_d():
    """Exponent i/D, an integer division, or a wrong base would show in the second pair."""
    table = sinusoidal_positions(2, 6, dtype=torch.float64)
    for pair in range(3):
        frequency = 10_000 ** (-2 * pair / 6)
        assert table[1, 2 * pair].item() == pytest.approx(math.sin(frequency), abs=1e-12)
        assert table[1, 2 * pair + 1].item() == pytest.approx(math.cos(frequency), abs=1e-12)


@given(length=st.integers(1, 40), pairs=st.integers(1, 8))
def test_each_pair_is_a_point_on_the_unit_circle(length, pairs):
    table = sinusoidal_positions(length, 2 * pairs)
    assert table.shape == (length, 2 * pairs)
    torch.testing.assert_close(table.view(length, pairs, 2).norm(dim=-1), torch.ones(length, pairs))


def test_the_two_layouts_hold_the_same_numbers_in_another_order():
    interleaved, halves = sinusoidal_positions(7, 10), sinusoidal_positions(7, 10, layout="halves")
    assert torch.equal(halves, torch.cat([interleaved[:, 0::2], interleaved[:, 1::2]], dim=-1))
    assert halves[0].tolist() == [0] * 5 + [1] * 5


def test_a_longer_table_begins_with_the_shorter_one():
    assert torch.equal(sinusoidal_positions(90, 12)[:7], sinusoidal_positions(7, 12))


def test_the_dot_product_of_two_sinusoids_depends_on_the_offset_only_and_is_not_monotone():
    table = sinusoidal_positions(200, 128, dtype=torch.float64)
    dots = table @ table.T
    for offset in (1, 11, 12, 50):
        diagonal = dots.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert (dots[0, 1:12] < dots[0, 0:11]).all()
    assert dots[0, 12] > dots[0, 11]


def test_the_sinusoidal_table_is_no_parameter_not_in_the_state_dict_and_moves_with_its_module():
    module = SinusoidalPositions(d_model=6, max_len=9)
    assert list(module.parameters()) == []
    assert module.state_dict() == {}
    assert module.double().table.dtype == torch.float64


@layouts
def test_sinusoidal_positions_are_added_and_no_more(layout):
    module = SinusoidalPositions(d_model=6, max_len=9, layout=layout)
    x = torch.randn(2, 5, 6)
    before = x.clone()
    expected = sinusoidal_positions(5, 6, layout=layout).expand(2, 5, 6)
    torch.testing.assert_close(module(x) - x, expected)
    torch.testing.assert_close(module.train()(x), module.eval()(x), rtol=0, atol=0)
    assert torch.equal(x, before)


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
def test_tokens_one_by_one_with_start_get_the_positions_of_the_whole_sequence(kind):
    module = kind(d_model=6, max_len=5)
    x = torch.randn(2, 5, 6)
    steps = [module(x[:, t : t + 1], start=t) for t in range(5)]
    torch.testing.assert_close(torch.cat(steps, dim=1), module(x), rtol=0, atol=0)
    torch.testing.assert_close(module(x[:, 2:], start=2), module(x)[:, 2:], rtol=0, atol=0)


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
def test_positions_keep_the_dtype_of_the_sequence(kind):
    assert kind(d_model=6, max_len=5)(torch.randn(1, 3, 6, dtype=torch.float64)).dtype == torch.float64
    assert kind(d_model=6, max_len=5)(torch.randn(1, 3, 6).bfloat16()).dtype == torch.bfloat16


def test_learned_positions_are_max_len_times_d_parameters_and_only_used_rows_get_a_gradient():
    module = LearnedPositions(d_model=6, max_len=9)
    assert sum(parameter.numel() for parameter in module.parameters()) == 54
    module(torch.randn(2, 4, 6), start=3).sum().backward()
    assert module.table.grad is not None
    assert module.table.grad.sum(-1).tolist() == [0, 0, 0, 12, 12, 12, 12, 0, 0]


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
def test_a_sequence_beyond_max_len_is_refused_with_both_numbers(kind):
    module = kind(d_model=6, max_len=512)
    assert module(torch.randn(1, 512, 6)).shape == (1, 512, 6)
    with pytest.raises(ValueError, match=rf"{kind.__name__}.*513 \+ 0 = 513, max_len = 512"):
        module(torch.randn(1, 513, 6))
    with pytest.raises(ValueError, match=r"3 \+ 510 = 513, max_len = 512"):
        module(torch.randn(1, 3, 6), start=510)


@layouts
def test_rotating_keeps_the_length_of_every_vector_and_leaves_position_0_alone(layout):
    x = torch.randn(2, 3, 5, 8)
    turned = rotate(x, layout=layout)
    assert turned.shape == x.shape
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[..., 0, :], x[..., 0, :])


def test_the_first_pair_is_turned_by_one_radian_a_position():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    expected = [[1, 0], [math.cos(1), math.sin(1)], [-math.sin(2), math.cos(2)]]
    torch.testing.assert_close(rotate(x), torch.tensor(expected))


@layouts
@given(i=st.integers(0, 60), j=st.integers(0, 60), shift=st.integers(0, 200))
def test_the_dot_product_of_rotated_vectors_depends_on_the_offset_only(layout, i, j, shift):
    q, k = torch.randn(1, 8, dtype=torch.float64), torch.randn(1, 8, dtype=torch.float64)

    def score(at_i: int, at_j: int) -> torch.Tensor:
        return (rotate(q, at_i, layout=layout) * rotate(k, at_j, layout=layout)).sum()

    torch.testing.assert_close(score(i, j), score(i + shift, j + shift))
    if i != j:
        assert (score(i, j) - score(i, i)).abs() > 1e-9


@layouts
def test_rotating_token_by_token_with_start_equals_rotating_the_whole(layout):
    x = torch.randn(2, 3, 6, 8)
    steps = [rotate(x[..., t : t + 1, :], start=t, layout=layout) for t in range(6)]
    torch.testing.assert_close(torch.cat(steps, dim=-2), rotate(x, layout=layout), rtol=0, atol=0)


@layouts
def test_far_positions_are_turned_as_exactly_as_near_ones(layout):
    x = torch.randn(3, 8)
    exact = rotate(x.double(), 90_000, layout=layout)
    torch.testing.assert_close(rotate(x, 90_000, layout=layout).double(), exact, rtol=0, atol=1e-6)


def test_rotating_keeps_the_dtype_and_lets_gradients_through():
    assert rotate(torch.randn(3, 4).bfloat16()).dtype == torch.bfloat16
    x = torch.randn(3, 4, requires_grad=True)
    rotate(x).pow(2).sum().backward()
    torch.testing.assert_close(x.grad, 2 * x.detach())  # a rotation keeps the length


@given(n_keys=st.integers(1, 9), fewer=st.integers(0, 8))
def test_relative_distances_count_from_key_to_query_with_the_queries_last(n_keys, fewer):
    n_queries = max(1, n_keys - fewer)
    distances = relative_distances(n_queries, n_keys)
    assert distances.shape == (n_queries, n_keys)
    for query in range(n_queries):
        for key in range(n_keys):
            assert distances[query, key].item() == query + n_keys - n_queries - key
    assert torch.equal(distances >= 0, causal_mask(n_queries, n_keys))


def test_a_relative_bias_is_one_number_a_head_and_distance_and_far_distances_share_the_last():
    module = RelativeBias(n_heads=2, max_distance=3)
    assert module.bias.shape == (2, 7)
    assert (module(4) == 0).all()
    with torch.no_grad():
        module.bias.copy_(torch.randn(2, 7))
    biases = module(4, 6)
    assert biases.shape == (2, 4, 6)
    for head in range(2):
        for query in range(4):
            for key in range(6):
                distance = max(-3, min(3, query + 2 - key))
                assert biases[head, query, key] == module.bias[head, distance + 3]


def test_the_gradient_of_a_relative_bias_counts_how_often_a_distance_occurs():
    module = RelativeBias(n_heads=1, max_distance=1)
    module(4).sum().backward()
    assert module.bias.grad is not None
    assert module.bias.grad.tolist() == [[6, 4, 6]]


def test_a_wrong_argument_is_named_with_its_value():
    for length in (0, -1):
        with pytest.raises(ValueError, match=rf"sinusoidal_positions: .*length = {length}"):
            sinusoidal_positions(length, 4)
    for width in (5, 0, -2):
        with pytest.raises(ValueError, match=rf"sinusoidal_positions: d_model .* {width}"):
            sinusoidal_positions(3, width)
    with pytest.raises(ValueError, match="'blocks'"):
        sinusoidal_positions(3, 4, layout="blocks")
    with pytest.raises(ValueError, match=r"SinusoidalPositions.*max_len = 0"):
        SinusoidalPositions(d_model=4, max_len=0)
    with pytest.raises(ValueError, match="d_model = 0, max_len = 3"):
        LearnedPositions(d_model=0, max_len=3)
    with pytest.raises(ValueError, match="d_model = 4, max_len = 0"):
        LearnedPositions(d_model=4, max_len=0)
    for module in (SinusoidalPositions(d_model=4, max_len=9), LearnedPositions(d_model=4, max_len=9)):
        with pytest.raises(ValueError, match=r"\(3, 4\)"):
            module(torch.randn(3, 4))
        with pytest.raises(ValueError, match="int64"):
            module(torch.ones(1, 3, 4, dtype=torch.int64))
        with pytest.raises(ValueError, match=r"width 4, got 6 in shape \(1, 3, 6\)"):
            module(torch.randn(1, 3, 6))
        with pytest.raises(ValueError, match="start = -1"):
            module(torch.randn(1, 3, 4), start=-1)
    with pytest.raises(ValueError, match=r"rotate: x .*\(4,\)"):
        rotate(torch.randn(4))
    with pytest.raises(ValueError, match="int64"):
        rotate(torch.ones(3, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"rotate: the width of x .* 5"):
        rotate(torch.randn(3, 5))
    with pytest.raises(ValueError, match=r"rotate.*start = -2"):
        rotate(torch.randn(3, 4), start=-2)
    with pytest.raises(ValueError, match=r"rotate: layout .*'pairs'"):
        rotate(torch.randn(3, 4), layout="pairs")
    with pytest.raises(ValueError, match="Tq = 4, Tk = 3"):
        relative_distances(4, 3)
    with pytest.raises(ValueError, match="Tq = 0"):
        relative_distances(0)
    with pytest.raises(ValueError, match=r"RelativeBias.*n_heads = 0"):
        RelativeBias(n_heads=0, max_distance=3)
    with pytest.raises(ValueError, match=r"RelativeBias.*max_distance = -1"):
        RelativeBias(n_heads=2, max_distance=-1)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: sinusoidal_positions(2.5, 4), "length = 2.5"),
        (lambda: sinusoidal_positions(None, 4), "length = None"),
        (lambda: sinusoidal_positions(3, 4.0), "d_model .*got 4.0"),
        (lambda: sinusoidal_positions(3, None), "d_model .*got None"),
        (
            lambda: sinusoidal_positions(3, 4, dtype=torch.int64),
            "dtype must be floating point, got torch.int64",
        ),
        (lambda: sinusoidal_positions(3, 4, layout=None), "layout .*got None"),
        (lambda: SinusoidalPositions(d_model=4, max_len=2.5), "SinusoidalPositions.*max_len = 2.5"),
        (lambda: LearnedPositions(d_model=None, max_len=2), "LearnedPositions.*d_model = None"),
        (lambda: LearnedPositions(d_model=4, max_len=2)(None), "LearnedPositions: x .*a NoneType"),
        (lambda: SinusoidalPositions(d_model=4, max_len=2)([[[1.0] * 4]]), "SinusoidalPositions: x .*a list"),
        (lambda: SinusoidalPositions(d_model=4, max_len=9)(torch.randn(1, 2, 4), 1.5), "start = 1.5"),
        (lambda: LearnedPositions(d_model=4, max_len=9)(torch.randn(1, 2, 4), None), "start = None"),
        (lambda: rotate(None), "rotate: x .*a NoneType"),
        (lambda: rotate(torch.randn(3, 4), 0.5), "rotate.*start = 0.5"),
        (lambda: rotate(torch.randn(3, 4), layout=None), "layout .*got None"),
        (lambda: relative_distances(2.5), "Tq = 2.5"),
        (lambda: relative_distances(2, "3"), "Tk = '3'"),
        (lambda: RelativeBias(n_heads=2.5, max_distance=1), "n_heads = 2.5"),
        (lambda: RelativeBias(n_heads=2, max_distance=None), "max_distance = None"),
        (lambda: RelativeBias(n_heads=2, max_distance=1)(3, 2), "Tq = 3, Tk = 2"),
    ],
)
def test_what_is_no_tensor_or_no_whole_number_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


@layouts
def test_one_step_no_step_no_row_and_tensors_that_are_not_contiguous_are_turned(layout):
    for shape in ((1, 2), (0, 4), (3, 0, 2), (2, 3, 4, 6)):
        x = torch.randn(shape, dtype=torch.float64)
        turned = rotate(x, 3, layout=layout)
        assert turned.shape == shape and turned.dtype == torch.float64
        mixed = x.transpose(0, -2).contiguous().transpose(0, -2)
        assert torch.equal(rotate(mixed, 3, layout=layout), turned)


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
def test_a_table_used_to_its_last_row_and_not_at_all(kind):
    module = kind(d_model=4, max_len=5)
    assert module(torch.randn(1, 0, 4), start=5).shape == (1, 0, 4)
    assert module(torch.randn(0, 3, 4)).shape == (0, 3, 4)
    x = torch.zeros(1, 1, 4)
    assert torch.equal(module(x, start=4)[0, 0], module.table[4])


def test_the_table_follows_the_default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        assert sinusoidal_positions(3, 4).dtype == torch.float64
        assert SinusoidalPositions(d_model=4, max_len=3).table.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert sinusoidal_positions(3, 4).dtype == torch.float32


def test_learned_positions_begin_small():
    table = LearnedPositions(d_model=64, max_len=100).table
    assert 0.018 < table.std() < 0.022
