"""attention: what it computes, what it refuses. Equality with torch.nn and d2l stands in tests/parity."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.attention import (
    AdditiveAttention,
    KVCache,
    MultiHeadAttention,
    attend,
    attention_weights,
    dot_product_scores,
    masked_softmax,
    merge_heads,
    scaled_dot_product_attention,
    scaled_dot_product_scores,
    split_heads,
)
from course_lib.masks import causal_mask

sizes = st.integers(1, 6)


@given(n_queries=sizes, n_keys=sizes, seed=st.integers(0, 99))
def test_rows_of_masked_softmax_sum_to_one_or_are_zero_where_nothing_may_be_seen(n_queries, n_keys, seed):
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, 3, n_queries, n_keys, generator=draw) * 10
    mask = torch.rand(2, 1, n_queries, n_keys, generator=draw) < 0.5
    weights = masked_softmax(scores, mask)
    assert (weights >= 0).all()
    assert (weights[~mask.expand_as(weights)] == 0).all()
    expected = mask.any(-1).expand(2, 3, n_queries).float()
    torch.testing.assert_close(weights.sum(-1), expected)


def test_a_row_that_sees_nothing_gets_zero_weights_and_zero_gradient_never_nan():
    scores = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    weights = masked_softmax(scores, mask)
    (weights * torch.randn(2, 3)).sum().backward()
    assert weights[1].tolist() == [0, 0, 0]
    assert scores.grad is not None
    assert scores.grad[1].tolist() == [0, 0, 0]
    assert scores.grad[0, :2].abs().min() > 0


def test_the_spread_of_scaled_scores_does_not_grow_with_the_width():
    for width in (4, 64, 1024):
        q, k = torch.randn(200, width), torch.randn(200, width)
        assert 0.9 < scaled_dot_product_scores(q, k).std() < 1.1
        torch.testing.assert_close(
            scaled_dot_product_scores(q, k) * math.sqrt(width), dot_product_scores(q, k)
        )


def test_a_hidden_key_has_no_influence_on_output_or_gradient():
    q, k, v = torch.randn(2, 3, 4), torch.randn(2, 5, 4, requires_grad=True), torch.randn(2, 5, 6)
    mask = torch.ones(2, 3, 5, dtype=torch.bool)
    mask[:, :, 3] = False
    output, _ = scaled_dot_product_attention(q, k, v, mask)
    output.sum().backward()
    assert k.grad is not None
    assert (k.grad[:, 3] == 0).all()
    changed, _ = scaled_dot_product_attention(q, k, v.index_fill(1, torch.tensor(3), 99.0), mask)
    torch.testing.assert_close(output, changed)


@given(n_batch=sizes, n_heads=sizes, n_tokens=sizes, d_head=sizes)
def test_merging_undoes_splitting_and_each_head_gets_its_own_piece(n_batch, n_heads, n_tokens, d_head):
    x = torch.arange(float(n_batch * n_tokens * n_heads * d_head)).view(n_batch, n_tokens, n_heads * d_head)
    heads = split_heads(x, n_heads)
    assert heads.shape == (n_batch, n_heads, n_tokens, d_head)
    assert torch.equal(merge_heads(heads), x)
    for h in range(n_heads):
        assert torch.equal(heads[:, h], x[..., h * d_head : (h + 1) * d_head])


def test_the_fused_form_equals_the_definition_form_with_and_without_masks():
    module, x, memory = (
        MultiHeadAttention(d_model=12, n_heads=3),
        torch.randn(2, 4, 12),
        torch.randn(2, 5, 12),
    )
    empty_row = torch.ones(2, 1, 4, 5, dtype=torch.bool)
    empty_row[1, 0, 2] = False
    for arguments in ((x,), (x, memory), (x, None, causal_mask(4)), (x, memory, empty_row)):
        torch.testing.assert_close(module(*arguments), module.with_weights(*arguments)[0])


def test_attention_without_positions_is_permutation_equivariant():
    module, x, order = MultiHeadAttention(d_model=12, n_heads=3), torch.randn(2, 5, 12), torch.randperm(5)
    torch.testing.assert_close(module(x[:, order]), module(x)[:, order])


def test_dropout_acts_in_training_only():
    module, x = MultiHeadAttention(d_model=12, n_heads=3, dropout=0.5), torch.randn(2, 5, 12)
    assert not torch.allclose(module(x), module(x))
    assert not torch.allclose(module.with_weights(x)[0], module.with_weights(x)[0])
    module.eval()
    assert torch.equal(module(x), module(x))


def test_additive_scores_are_those_of_the_formula():
    module = AdditiveAttention(d_query=3, d_key=4, d_hidden=7)
    q, k, v = torch.randn(2, 5, 3), torch.randn(2, 6, 4), torch.randn(2, 6, 8)
    output, weights = module(q, k, v)
    for i in range(5):
        for j in range(6):
            hidden = torch.tanh(module.w_q.weight @ q[1, i] + module.w_k.weight @ k[1, j])
            torch.testing.assert_close(module.scores(q, k)[1, i, j], module.w_v.weight[0] @ hidden)
    torch.testing.assert_close(output, weights @ v)


def _qkv(**changes):
    given = {"q": torch.randn(2, 3, 4), "k": torch.randn(2, 5, 4), "v": torch.randn(2, 5, 6)}
    return given | changes


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"q": torch.randn(2, 3, 7)}, "7 and 4"),
        ({"k": torch.randn(2, 6, 4)}, "6 and 5"),
        ({"v": torch.randn(2, 5, 6, dtype=torch.float64)}, "float32 and torch.float64"),
        ({"q": torch.randn(2, 3, 4, dtype=torch.float64)}, "float64 and torch.float32"),
        ({"q": torch.ones(2, 3, 4, dtype=torch.long), "k": torch.ones(2, 5, 4, dtype=torch.long)}, "int64"),
        ({"q": torch.randn(4)}, r"\(4,\)"),
        ({"v": torch.randn(5)}, r"\(5,\)"),
        ({"q": torch.randn(2, 3, 0), "k": torch.randn(2, 5, 0)}, "0 and 0"),
        ({"q": torch.randn(9, 3, 4)}, r"\(9, 3, 4\)"),
        ({"v": torch.randn(7, 5, 6)}, r"\(7, 5, 6\)"),
        ({"mask": torch.ones(3, 5)}, "float32"),
        ({"mask": torch.ones(3, 4, dtype=torch.bool)}, r"\(3, 4\)"),
        ({"mask": torch.ones(4, 2, 3, 5, dtype=torch.bool)}, r"\(4, 2, 3, 5\)"),
    ],
)
def test_attention_refuses_what_does_not_fit_and_names_it(changes, named):
    with pytest.raises(ValueError, match=named):
        scaled_dot_product_attention(**_qkv(**changes))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: MultiHeadAttention(d_model=10, n_heads=3), "d_model = 10, n_heads = 3"),
        (lambda: MultiHeadAttention(d_model=12, n_heads=0), "n_heads = 0"),
        (lambda: MultiHeadAttention(d_model=12, n_heads=3, dropout=1.0), "1.0"),
        (lambda: MultiHeadAttention(d_model=12, n_heads=3)(torch.randn(2, 12)), r"\(2, 12\)"),
        (
            lambda: MultiHeadAttention(d_model=12, n_heads=3)(torch.randn(2, 5, 8)),
            r"got 8 in shape \(2, 5, 8\)",
        ),
        (lambda: MultiHeadAttention(d_model=12, n_heads=3)(torch.ones(2, 5, 12).long()), "int64"),
        (
            lambda: MultiHeadAttention(d_model=12, n_heads=3)(torch.randn(2, 5, 12), torch.randn(3, 5, 12)),
            "2 and 3",
        ),
        (
            lambda: MultiHeadAttention(d_model=12, n_heads=3)(torch.randn(2, 5, 12), mask=torch.ones(5, 5)),
            "float32",
        ),
        (
            lambda: MultiHeadAttention(d_model=12, n_heads=3)(
                torch.randn(2, 5, 12), mask=torch.ones(4, 5, dtype=torch.bool)
            ),
            r"\(4, 5\)",
        ),
        (lambda: split_heads(torch.randn(2, 5, 12), 5), "n_heads = 5"),
        (lambda: split_heads(torch.randn(5, 12), 3), r"\(5, 12\)"),
        (lambda: merge_heads(torch.randn(2, 5, 12)), r"\(2, 5, 12\)"),
        (lambda: AdditiveAttention(d_query=0, d_key=3, d_hidden=4), "d_query = 0"),
        (lambda: AdditiveAttention(d_query=2, d_key=3, d_hidden=4, dropout=-0.1), "-0.1"),
        (
            lambda: AdditiveAttention(d_query=2, d_key=3, d_hidden=4).scores(
                torch.randn(5, 3), torch.randn(5, 3)
            ),
            "got 3",
        ),
        (lambda: masked_softmax(torch.ones(2, 3, dtype=torch.long)), "int64"),
    ],
)
def test_every_other_bad_argument_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


MASKS = {
    "none": None,
    "padding": torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None, :],
    "a row that sees nothing": torch.tensor([[False] * 5, [True, False, True, False, True]])[
        :, None, None, :
    ],
    "one for every head": torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(1)) < 0.6,
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "dtype, limit", [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)]
)
def test_the_fast_form_gives_what_the_definition_form_gives(name, causal, dtype, limit):
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 5, 4, generator=draw, dtype=torch.float64).to(dtype) for _ in range(3))
    given = [tensor.requires_grad_() for tensor in (q, k, v)]
    mask = MASKS[name]
    seen = torch.ones(5, 5, dtype=torch.bool) if mask is None else mask
    seen = seen & causal_mask(5) if causal else seen
    exact = [tensor.double().detach().requires_grad_() for tensor in given]
    expected, _ = scaled_dot_product_attention(*exact, seen)
    output = attend(*given, mask, causal=causal)
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), expected, atol=limit, rtol=limit)
    pull = torch.randn(2, 3, 5, 4, generator=draw, dtype=torch.float64)
    ours = torch.autograd.grad(output, given, pull.to(dtype))
    for one, other in zip(ours, torch.autograd.grad(expected, exact, pull)):
        torch.testing.assert_close(one.double(), other, atol=5 * limit, rtol=5 * limit)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_causal_counts_from_the_last_key_where_there_are_fewer_queries(dtype):
    q, k, v = torch.randn(1, 2, 2, 4), torch.randn(1, 2, 6, 4), torch.randn(1, 2, 6, 4)
    expected, _ = scaled_dot_product_attention(q, k, v, causal_mask(2, 6))
    output = attend(q.to(dtype), k.to(dtype), v.to(dtype), causal=True)
    torch.testing.assert_close(output.float(), expected, atol=2e-2, rtol=2e-2)
    alone = attend(q[:, :, 1:], k, v, causal=True)  # the last token sees all
    torch.testing.assert_close(alone, expected[:, :, 1:])


def test_dropped_weights_are_made_up_for_by_the_others():
    v = torch.ones(1, 1, 400, 2)
    for dtype in (torch.float32, torch.bfloat16):
        q = torch.zeros(1, 1, 400, 2, dtype=dtype)
        torch.manual_seed(0)
        mixed = attend(q, q, v.to(dtype), dropout=0.5).float()
        assert mixed.std() > 0.01
        assert abs(mixed.mean().item() - 1) < 0.02


@pytest.mark.parametrize(
    "mask", [None, torch.ones(2, 1, 1, 4096, dtype=torch.bool)], ids=["causal", "padding"]
)
def test_no_table_of_all_scores_is_ever_made_where_the_mask_is_simple(mask):
    """A boolean table alone would be 16 million entries for T = 4096; the largest tensor made must be far smaller."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            output = func(*args, **(kwargs or {}))
            for made in output if isinstance(output, tuple | list) else [output]:
                if isinstance(made, torch.Tensor):
                    self.numbers = max(self.numbers, made.untyped_storage().nbytes() // made.element_size())
            return output

    attention = MultiHeadAttention(d_model=4, n_heads=1)
    x = torch.randn(2, 4096, 4, requires_grad=True)
    with Largest() as largest:
        attention(x, mask=mask, causal=mask is None).sum().backward()
    assert largest.numbers <= 2 * 4096 * 16


@given(pieces=st.lists(st.integers(1, 4), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_self_attention_with_a_cache_gives_what_it_gives_at_once(pieces, seed):
    torch.manual_seed(seed)
    attention = MultiHeadAttention(d_model=6, n_heads=2)
    x = torch.randn(2, sum(pieces), 6)
    cache = KVCache()
    steps = [attention(part, causal=True, cache=cache) for part in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(steps, 1), attention(x, causal=True), atol=1e-6, rtol=1e-5)
    assert cache.length == sum(pieces)


def test_cross_attention_with_a_cache_maps_its_memory_once():
    attention = MultiHeadAttention(d_model=6, n_heads=2)
    x, memory, cache, calls = torch.randn(2, 3, 6), torch.randn(2, 5, 6), KVCache(), []
    attention.w_k.register_forward_hook(lambda *_: calls.append(1))
    once = attention(x, memory)
    for _ in range(3):
        torch.testing.assert_close(attention(x, memory, cache=cache), once)
    assert len(calls) == 2 and cache.length == 5


def test_a_cache_copies_a_token_s_keys_rarely_and_keeps_no_gradient():
    cache, buffers = KVCache(), set()
    for step in range(1, 101):
        k = torch.full((2, 1, 1, 3), float(step), requires_grad=True)
        keys, values = cache.append(k, -k)
        buffers.add(keys.untyped_storage().data_ptr())
        assert not keys.requires_grad
    assert keys[0, 0, :, 0].tolist() == list(range(1, 101))
    assert torch.equal(values, -keys)
    assert len(buffers) <= 8


def test_a_reordered_cache_holds_the_rows_that_were_asked_for_and_grows_on():
    cache = KVCache()
    cache.reorder(torch.tensor([0]))  # nothing is kept yet, so nothing moves
    cache.append(*[torch.arange(3.0).view(3, 1, 1, 1).repeat(1, 2, 2, 4)] * 2)
    cache.reorder(torch.tensor([2, 2, 0, 1]))
    keys, _ = cache.append(*[torch.full((4, 2, 1, 4), 9.0)] * 2)
    assert keys[:, 0, :, 0].tolist() == [[2, 2, 9], [2, 2, 9], [0, 0, 9], [1, 1, 9]]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda cache: cache.append(torch.zeros(2, 3, 1), torch.zeros(2, 3, 1)), r"\(2, 3, 1\)"),
        (lambda cache: cache.append(torch.zeros(2, 3, 1, 4), torch.zeros(2, 3, 2, 4)), r"\(2, 3, 2, 4\)"),
        (lambda cache: cache.append(torch.zeros(1, 3, 1, 4), torch.zeros(1, 3, 1, 4)), r"\(1, 3, 1, 4\)"),
        (lambda cache: cache.append(torch.zeros(2, 3, 1, 5), torch.zeros(2, 3, 1, 5)), r"\(2, 3, 1, 5\)"),
        (lambda cache: cache.reorder(torch.tensor([0, 2])), r"between 0 and 1, got \[0, 2\]"),
        (lambda cache: cache.reorder(torch.tensor([-1])), r"got \[-1\]"),
        (lambda cache: cache.reorder(torch.tensor([], dtype=torch.long)), r"got \[\]"),
        (lambda cache: cache.reorder(torch.tensor([[0]])), r"shape \(1, 1\)"),
        (lambda cache: cache.reorder([0]), r"\[0\]"),
        (lambda cache: KVCache().all(), "nothing is kept yet"),
        (lambda cache: attention_weights(torch.nn.Linear(2, 2), torch.zeros(2)), "Linear holds no"),
        (lambda cache: attend(*_qkv(mask=torch.ones(3, 5)).values()), "float32"),
    ],
)
def test_a_cache_refuses_what_does_not_go_with_it(call, named):
    cache = KVCache()
    cache.append(torch.zeros(2, 3, 1, 4), torch.zeros(2, 3, 1, 4))
    with pytest.raises(ValueError, match=named):
        call(cache)


@given(seed=st.integers(0, 10**6))
def test_however_rows_are_reordered_each_holds_the_whole_past_of_its_parents(seed):
    draw = torch.Generator().manual_seed(seed)
    cache, rows_written = KVCache(), [[] for _ in range(3)]
    for step in range(12):
        new = torch.arange(len(rows_written)) + 100.0 * step
        for past, number in zip(rows_written, new.tolist()):
            past.append(number)
        k = new.view(-1, 1, 1, 1).repeat(1, 2, 1, 2)
        keys, values = cache.append(k, -k)
        assert keys[:, 1, :, 0].tolist() == rows_written
        assert torch.equal(values, -keys)
        if torch.rand((), generator=draw) < 0.7:
            n_rows = int(torch.randint(1, 5, (), generator=draw)) if step % 5 == 4 else len(rows_written)
            parents = torch.randint(0, len(rows_written), (n_rows,), generator=draw)
            cache.reorder(parents)
            rows_written = [list(rows_written[parent]) for parent in parents.tolist()]
