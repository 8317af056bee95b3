"""What experiments are made of: inputs nobody expects, returns of the right kind, gradients, borrowed weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checks.explain import WrongReturn


def numbers(*shape: int, seed: int, std: float = 1.0) -> Tensor:
    """Return the same random numbers every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * std


def a_tensor(result: Any, *, called: str = "one tensor") -> Tensor:
    """Return the result if it is a tensor, else say kindly what it is."""
    if isinstance(result, Tensor):
        return result
    if result is None:
        raise WrongReturn(
            "nothing returned", "Your code returns nothing.", "Does the last line begin with `return`?"
        )
    if isinstance(result, (tuple, list)) and len(result) == 1:
        raise WrongReturn(
            "a tuple of one",
            "You return a tuple or list with one entry.",
            "Is there a comma after the result?",
        )
    kind = type(result).__name__
    raise WrongReturn(
        f"{kind} in place of a tensor",
        f"You return a {kind}; the exercise asks for {called}."[:83],
        f"Return {called}, a torch.Tensor. Lists of tensors become one by torch.stack or torch.cat.",
    )


def a_pair(result: Any) -> tuple[Tensor, Tensor]:
    """Return (output, weights) if the result is two tensors, else say kindly what it is."""
    if isinstance(result, Tensor):
        raise WrongReturn(
            "one tensor in place of two",
            "You return one tensor; the exercise asks for two: (output, weights).",
            "End with `return output, weights`: the mixed values, and the weights they were mixed by.",
        )
    if isinstance(result, (tuple, list)) and len(result) == 2:
        return a_tensor(result[0]), a_tensor(result[1])
    return a_tensor(result, called="two tensors, (output, weights)"), torch.empty(0)


def a_function(candidate: Any) -> Callable:
    """Return the candidate if it is a function, else say kindly what it is."""
    if isinstance(candidate, Tensor):
        raise WrongReturn(
            "the result in place of the function",
            "You handed in a tensor; the check wants the function itself.",
            "Write its name without parentheses: check(“…”, my_function), not my_function(…).",
        )
    if not callable(candidate):
        raise WrongReturn(
            "not a function",
            f"You handed in a {type(candidate).__name__}; the check wants the function itself."[:83],
            "Write its name without quotes or parentheses, after the cell that defines it was run.",
        )
    return candidate


def a_module(candidate: Any, layers: Sequence[str], **sizes: int) -> nn.Module:
    """Build the candidate's module and give its linear layers random weights, the same for everybody.

    Weights as large as these make every detail visible; at default initialisation many would hide.
    """
    if isinstance(candidate, nn.Module):
        raise WrongReturn(
            "an instance in place of the class",
            "You handed in one module; the check wants the class, to build its own.",
            "Write the class's name without parentheses: check(“…”, MultiHeadAttention).",
        )
    build = a_function(candidate)
    try:
        inspect.signature(build).bind(**sizes)
        module = build(**sizes)
    except TypeError:
        module = build(*sizes.values())
    if not isinstance(module, nn.Module):
        raise WrongReturn(
            "not an nn.Module",
            "Your class is no nn.Module, or your function built none.",
            "Begin with `class …(nn.Module):` and call `super().__init__()` first.",
        )
    width = next(iter(sizes.values()))
    for number, name in enumerate(layers):
        layer = getattr(module, name, None)
        if not isinstance(layer, nn.Linear):
            raise WrongReturn(
                f"no layer {name}",
                f"Your module has no nn.Linear called {name}.",
                f"The exercise names the layers {', '.join(layers)}: create each in `__init__` as `self.{name} = …`.",
            )
        if layer.weight.shape != (width, width):
            raise WrongReturn(
                f"another size of {name}",
                f"{name} maps {layer.in_features} numbers to {layer.out_features}; it should map {width} to {width}.",
                "All heads live side by side in one d_model wide layer, and are cut apart afterwards.",
            )
        if layer.bias is None:
            raise WrongReturn(
                f"no bias in {name}",
                f"{name} has no bias; this exercise wants one.",
                "nn.Linear has one by default.",
            )
        with torch.no_grad():
            layer.weight.copy_(numbers(width, width, seed=100 + number, std=width**-0.5 * 1.5))
            layer.bias.copy_(numbers(width, seed=200 + number, std=0.3))
    return module


def gradients(output: Tensor, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradient of a fixed mix of the output to each input; zeros where none arrives."""
    if not output.requires_grad:
        return {f"gradient to {name}": torch.zeros_like(tensor) for name, tensor in inputs.items()}
    mix = numbers(*output.shape, seed=300).to(output)
    found = torch.autograd.grad((output * mix).sum(), list(inputs.values()), allow_unused=True)
    return {
        f"gradient to {name}": torch.zeros_like(tensor) if gradient is None else gradient
        for (name, tensor), gradient in zip(inputs.items(), found, strict=True)
    }


def watched(*tensors: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return leaves whose gradient can be asked for, and copies to hand out, which may be changed in place."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    return leaves, [leaf.clone() for leaf in leaves]


def yes(truth: bool) -> Tensor:
    """Return 1.0 for true and 0.0 for false."""
    return torch.tensor(float(truth))
