"""One comparison for all models: what they compute, and the gradient of every weight, fp32 and fp64.

Limits: fp32 forward 1e-5 of the largest number, gradients 1e-4 in relative norm; fp64 1e-12 and 1e-11.
"""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

LIMITS = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-12, 1e-11)}
dtypes = pytest.mark.parametrize("dtype", LIMITS, ids=["fp32", "fp64"])


def randomised(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Add N(0, 0.15) to every weight: at default initialisation a missing bias would not show."""
    module.to(dtype).eval()
    with torch.no_grad():
        for weight in module.parameters():
            if weight.requires_grad:
                weight += 0.15 * torch.randn_like(weight)
    return module


def padded(lengths: Sequence[int], vocab_size: int, pad_id: int) -> Tensor:
    """Draw a row of real tokens for each length, filled up with `pad_id`."""
    tokens = torch.full((len(lengths), max(lengths)), pad_id)
    for row, length in enumerate(lengths):
        ids = torch.randint(vocab_size - 1, (length,))
        tokens[row, :length] = ids + (ids >= pad_id)  # every id but that of padding
    return tokens


def assert_same_numbers(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    """Compare outputs, one by one; a scalar may be a loss."""
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        limit = LIMITS[other.dtype][0] * other.abs().max().item()
        assert one.dtype == other.dtype and one.shape == other.shape
        far = (one - other).abs().max().item()
        assert far <= limit, f"output {number}: {far:.1e} apart, allowed are {limit:.1e}"


def gradient_of(weight: Tensor) -> Tensor:
    """Return its gradient, 0 where it took no part."""
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def assert_same_gradients(ours: nn.Module, expected: nn.Module) -> None:
    """Compare the gradients of ours with the weights of `expected`, place by place."""
    gradients = {
        name: gradient_of(weight) for name, weight in ours.named_parameters() if weight.requires_grad
    }
    wanted = {name: weight.detach() for name, weight in expected.named_parameters()}
    assert wanted.keys() == dict(ours.named_parameters()).keys(), "the two have other weights"
    largest = max(wanted[name].norm().item() for name in gradients)
    assert largest > 0
    for name, gradient in gradients.items():
        other = wanted[name]
        # A key's bias has gradient 0: the softmax does not notice what is added to a whole row.
        size = largest if name.endswith("w_k.bias") else other.norm().item()
        far, limit = (gradient - other).norm().item(), LIMITS[other.dtype][1] * size
        assert far <= limit, f"gradient of {name}: {far:.1e} apart, allowed are {limit:.1e}"


def compare(
    ours: nn.Module,
    theirs: nn.Module,
    convert: Callable[[nn.Module], nn.Module],
    of_ours: Sequence[Tensor],
    of_theirs: Sequence[Tensor],
) -> None:
    """Compare outputs, then the gradients of one random mix of them.

    Args:
        ours, theirs: the models.
        convert: makes ours of theirs. It also carries their gradients to where they belong in ours.
        of_ours, of_theirs: what the two computed, the meaningful rows only, in the same order.
    """
    assert_same_numbers(of_ours, of_theirs)
    mixes = [torch.randn_like(output) for output in of_theirs]
    ours.zero_grad()
    theirs.zero_grad()
    sum((output * mix).sum() for output, mix in zip(of_ours, mixes, strict=True)).backward()
    sum((output * mix).sum() for output, mix in zip(of_theirs, mixes, strict=True)).backward()
    assert_same_gradients(ours, with_gradients_as_weights(theirs, convert))


def with_gradients_as_weights(theirs: nn.Module, convert: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Make ours of theirs while each of its weights is replaced by its gradient; what does not learn stays."""
    learned = {weight: weight.detach().clone() for weight in theirs.parameters() if weight.requires_grad}
    with torch.no_grad():
        for weight in learned:
            weight.copy_(gradient_of(weight))
        expected = convert(theirs)
        for weight, before in learned.items():
            weight.copy_(before)
    return expected
