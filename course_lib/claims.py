"""A claim is a measured statement: it prints what was measured, and raises when the statement is false.

Every figure that the prose of a lesson leans on is claimed in the notebook that measures it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


class ClaimFailed(AssertionError):
    """A measured value lies outside the bound that its claim states."""


@dataclass(frozen=True)
class Claim:
    """One statement that held when it was measured."""

    text: str
    measured: float
    bound: str


_claims: dict[str, Claim] = {}


def claim(
    text: str,
    measured: float | Tensor,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    close_to: float | None = None,
    tol: float = 0.0,
) -> None:
    """Print and remember a measured statement, or raise if it is false.

    Args:
        text: the statement, with the unit of its figure.
        measured: a number, or a tensor with one element.
        at_least, at_most: the statement's bounds, both included.
        close_to, tol: the statement's value and how far from it the measurement may lie.

    Raises:
        TypeError: no bound is given, so that nothing is stated.
        ClaimFailed: the measured value is outside a bound, or is NaN.
    """
    if at_least is None and at_most is None and close_to is None:
        raise TypeError(f"claim({text!r}) states no bound: give at_least, at_most or close_to")
    value = float(measured.detach() if isinstance(measured, Tensor) else measured)
    bounds, holds = [], True
    if at_least is not None:
        bounds.append(f"at least {at_least:g}")
        holds = holds and value >= at_least
    if at_most is not None:
        bounds.append(f"at most {at_most:g}")
        holds = holds and value <= at_most
    if close_to is not None:
        bounds.append(f"{close_to:g} ± {tol:g}")
        holds = holds and abs(value - close_to) <= tol
    bound = ", ".join(bounds)
    if not holds:
        raise ClaimFailed(f"{text}: measured {value:.4g}, but the claim is {bound}")
    _claims[text] = Claim(text, value, bound)
    print(f"✓ {text}: ⟦{value:.4g}⟧ ({bound})")


def claims_table() -> str:
    """Return the claims made so far in this kernel as a plain-text table, in the order they were made."""
    if not _claims:
        return "no claim has been made in this kernel"
    width = max(len(made.text) for made in _claims.values())
    rows = [f"{'claim':{width}}  measured, and the bound it must meet"]
    rows += [f"{made.text:{width}}  ⟦{made.measured:.4g}⟧ ({made.bound})" for made in _claims.values()]
    return "\n".join(rows)
