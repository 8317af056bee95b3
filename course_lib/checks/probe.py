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
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * std


def kind_of(thing: Any) -> str:
    """Say in words what something is, with its article."""
    names = {"NoneType": "None", "ndarray": "a NumPy array", "int": "an int", "ellipsis": "`...`"}
    kind = type(thing).__name__
    return names.get(kind, f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}")


def a_tensor(result: Any, *, called: str = "one tensor", part: str = "") -> Tensor:
    """Return the result if it is a tensor, else say kindly what it is.

    Args:
        called: what the exercise asks for, in words.
        part: which of several results this is, in words.
    """
    if isinstance(result, Tensor):
        return result
    if result is None and not part:
        raise WrongReturn(
            "nothing returned",
            "Your code returns nothing.",
            "Does the last line begin with `return`, in every branch?",
        )
    if callable(result) and not isinstance(result, type):
        raise WrongReturn(
            "a method in place of its result",
            "You return a method, not what it gives.",
            "Are the parentheses () missing after `.contiguous`, `.flatten` or another method?",
        )
    if isinstance(result, (tuple, list)) and called == "one tensor" and not part:
        raise WrongReturn(
            "several results in place of one",
            f"You return {kind_of(result)} with {len(result)} entries; the exercise asks for one tensor.",
            "Return the one tensor. A list of tensors becomes one by torch.stack (a new axis) or torch.cat.",
        )
    what = f"The {part} of your two results is" if part else "You return"
    raise WrongReturn(
        f"{kind_of(result)} in place of a tensor",
        f"{what} {kind_of(result)}, not a tensor.",
        f"The exercise asks for {called}. Lists of tensors become one by torch.stack or torch.cat; with NumPy no "
        "gradient flows back, so stay with torch.",
    )


def a_pair(result: Any) -> tuple[Tensor, Tensor]:
    """Return (output, weights) if the result is two tensors, else say kindly what it is."""
    if isinstance(result, Tensor):
        raise WrongReturn(
            "one tensor in place of two",
            "You return one tensor; the exercise asks for two: (output, weights).",
            "End with `return output, weights`: the mixed values, and the weights they were mixed by.",
        )
    asked = "two tensors, (output, weights)"
    if isinstance(result, (tuple, list)):
        if len(result) != 2:
            many = f"{len(result)} results" if len(result) != 1 else "one result"
            raise WrongReturn(
                f"{many} in place of two",
                f"You return {many}; the exercise asks for two: (output, weights).",
                "End with `return output, weights`.",
            )
        first, second = result
        return a_tensor(first, called=asked, part="first"), a_tensor(second, called=asked, part="second")
    return a_tensor(result, called=asked), torch.empty(0)


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
            f"You handed in {kind_of(candidate)}; the check wants the function itself."[:83],
            "Write its name without quotes or parentheses, after the cell that defines it was run.",
        )
    return candidate


def built(candidate: Any, **sizes: int) -> nn.Module:
    """Build the candidate's module, or say kindly why there is none."""
    if isinstance(candidate, nn.Module):
        raise WrongReturn(
            "an instance in place of the class",
            "You handed in one module; the check wants the class, to build its own.",
            f"Write the class's name without parentheses: check(“…”, {type(candidate).__name__}).",
        )
    build = a_function(candidate)
    try:  # by position, as the exercise writes it; by name where the answer allows names only
        inspect.signature(build).bind(*sizes.values())
        by_position = True
    except (TypeError, ValueError):
        by_position = False
    module = build(*sizes.values()) if by_position else build(**sizes)
    if not isinstance(module, nn.Module):
        raise WrongReturn(
            "not an nn.Module",
            "Your class is no nn.Module, or your function built none.",
            "Begin with `class …(nn.Module):` and call `super().__init__()` first.",
        )
    return module


def a_module(candidate: Any, layers: Sequence[str], **sizes: int) -> nn.Module:
    """Build the candidate's module and give its linear layers random weights, the same for everybody.

    Weights as large as these make every detail visible; at default initialisation many would hide.
    """
    module = built(candidate, **sizes)
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
    found: dict[str, Tensor] = {
        f"gradient to {name}": torch.zeros_like(tensor) for name, tensor in inputs.items()
    }
    asked = {name: tensor for name, tensor in inputs.items() if tensor.requires_grad}
    if not output.requires_grad or not asked:
        return found
    mix = numbers(*output.shape, seed=300).to(output)
    arrived = torch.autograd.grad(
        (output * mix).sum(), list(asked.values()), allow_unused=True, retain_graph=True
    )
    for name, gradient in zip(asked, arrived, strict=True):
        if gradient is not None:
            found[f"gradient to {name}"] = gradient
    return found


def watched(*tensors: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return leaves whose gradient can be asked for, and copies to hand out, which may be changed in place."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    return leaves, [leaf.clone() for leaf in leaves]


def yes(truth: bool) -> Tensor:
    """Return 1.0 for true and 0.0 for false."""
    return torch.tensor(float(truth))
