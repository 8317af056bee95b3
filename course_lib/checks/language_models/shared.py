"""Lesson 01: what its exercises share: a small language model that notes what it was asked, two results.

B batch · T tokens · V words of the vocabulary · H width of the state
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checks.explain import WrongReturn
from course_lib.checks.probe import a_tensor, kind_of, numbers


class SpyModel(nn.Module):
    """A language model with fixed random weights: its guess depends on every token read, and on their order.

    It looks at nothing that comes later, keeps nothing between calls, and notes what it was asked.
    """

    def __init__(self, vocab_size: int, *, seed: int, loud: float = 1.0, raised: float = 0.0):
        super().__init__()
        width = 5
        self.table = nn.Parameter(numbers(vocab_size, width, seed=seed, std=1.5))
        self.carry = nn.Parameter(numbers(width, width, seed=seed + 1, std=0.6))
        self.head = nn.Parameter(numbers(width, vocab_size, seed=seed + 2, std=2.0 * loud))
        self.raised = raised  # added to every logit: no probability changes
        self.asked: list[Tensor] = []

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, (B, n, V), for ids, (B, n)."""
        self.asked.append(ids_of(tokens, self.table.size(0)).clone())
        state = self.table.new_zeros(tokens.size(0), self.carry.size(0))
        states = []
        for column in tokens.long().unbind(1):
            state = torch.tanh(self.table[column] + state @ self.carry)
            states.append(state)
        return torch.stack(states, dim=1) @ self.head + self.raised  # (B, n, V)


def ids_of(tokens: Any, vocab_size: int) -> Tensor:
    """Return what a model was asked with if it is a batch of ids, else say kindly what it is."""
    tokens = _asked_with_a_tensor(tokens)
    if tokens.dim() != 2:
        raise WrongReturn(
            "the model is asked with another shape",
            f"You ask the model with a tensor of shape {tuple(tokens.shape)}; it takes (B, n)."[:83],
            "A batch axis, even of size 1, stands in front: one sentence is (1, n).",
        )
    if tokens.size(1) == 0:
        raise WrongReturn(
            "the model is asked with nothing",
            "You ask the model with no token at all.",
            "Print the shape of what you give it. Where does your slice begin and end?",
        )
    whole = tokens.detach().double()
    if bool((whole != whole.round()).any()) or bool((whole < 0).any()) or bool((whole >= vocab_size).any()):
        raise WrongReturn(
            "the model is asked with what is no id",
            "You ask the model with numbers that are no token ids.",
            f"Ids are whole numbers from 0 to V - 1, here {vocab_size - 1}. Do you hand it logits, labels with "
            "-100, or probabilities?",
        )
    return tokens


def _asked_with_a_tensor(tokens: Any) -> Tensor:
    if isinstance(tokens, Tensor):
        return tokens
    raise WrongReturn(
        "the model is asked with another kind of thing",
        f"You ask the model with {kind_of(tokens)}; it takes a tensor of ids, (B, n)."[:83],
        "torch.tensor([[…]]) makes one of a list; torch.cat puts tensors together.",
    )


def two_results(
    result: Any, names: tuple[str, str], shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> tuple[Tensor, Tensor]:
    """Return the two tensors an exercise asks for, else say kindly what came in their place."""
    asked = f"({names[0]}, {names[1]})"
    if isinstance(result, Tensor):
        raise WrongReturn(
            "one tensor in place of two",
            f"You return one tensor; the exercise asks for two: {asked}.",
            f"End with `return {names[0]}, {names[1]}`.",
        )
    if not isinstance(result, (tuple, list)):
        return a_tensor(result, called=f"two tensors, {asked}"), torch.empty(0)
    if len(result) != 2:
        many = f"{len(result)} results" if len(result) != 1 else "one result"
        raise WrongReturn(
            f"{many} in place of two",
            f"You return {many}; the exercise asks for two: {asked}.",
            f"End with `return {names[0]}, {names[1]}`.",
        )
    first = a_tensor(result[0], called=f"two tensors, {asked}", part="first")
    second = a_tensor(result[1], called=f"two tensors, {asked}", part="second")
    if first.shape == shapes[1] != shapes[0] == second.shape:
        raise WrongReturn(
            "the two results are exchanged",
            f"Your two results are exchanged: the exercise asks for {asked}.",
            f"End with `return {names[0]}, {names[1]}`.",
        )
    return first, second


def crashes_in(experiment: str, message: str, hint: str) -> Any:
    """Return what a property needs to say that one experiment, and only that, could not be run to its end."""
    return (lambda seen: experiment in seen), message, hint
