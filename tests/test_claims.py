"""claims: a statement that is measured, printed, and raised when it is false."""

import math

import pytest
import torch

from course_lib import claims
from course_lib.claims import ClaimFailed, claim, claims_table


@pytest.fixture(autouse=True)
def no_claims_yet(monkeypatch):
    monkeypatch.setattr(claims, "_claims", {})


def test_a_true_claim_prints_the_measurement_inside_the_marks_that_nbval_skips(capsys):
    claim("share of right answers", 0.98765, at_least=0.95)
    assert capsys.readouterr().out == "✓ share of right answers: ⟦0.9877⟧ (at least 0.95)\n"


@pytest.mark.parametrize(
    ("measured", "bound"),
    [
        (0.94, {"at_least": 0.95}),
        (0.96, {"at_most": 0.95}),
        (1.3, {"close_to": 1.0, "tol": 0.2}),
        (0.7, {"close_to": 1.0, "tol": 0.2}),
        (5.0, {"at_least": 1.0, "at_most": 4.0}),
        (0.5, {"at_least": 1.0, "at_most": 4.0}),
    ],
)
def test_a_false_claim_raises_and_names_text_measurement_and_bound(measured, bound):
    with pytest.raises(ClaimFailed, match=rf"entropy: measured {measured:g}, but the claim is"):
        claim("entropy", measured, **bound)
    assert "no claim" in claims_table()


@pytest.mark.parametrize("bound", [{"at_least": 0.0}, {"at_most": 0.0}, {"close_to": 0.0, "tol": 1.0}])
def test_nan_meets_no_bound(bound):
    with pytest.raises(ClaimFailed, match="measured nan"):
        claim("entropy", math.nan, **bound)


def test_bounds_are_included():
    claim("low", 1.0, at_least=1.0)
    claim("high", 1.0, at_most=1.0)
    claim("exact", 1.0, close_to=1.0)


def test_a_claim_without_a_bound_is_a_type_error():
    with pytest.raises(TypeError, match="states no bound"):
        claim("entropy", 1.0)


def test_a_tensor_with_one_element_is_measured_even_when_it_requires_a_gradient(recwarn):
    claim("weight", torch.tensor([2.0], requires_grad=True), close_to=2.0)
    assert not recwarn.list


def test_the_table_holds_each_claim_once_in_the_order_of_the_lesson():
    claim("first", 1.0, at_least=0.0)
    claim("second claim", 2.0, at_most=3.0)
    claim("first", 1.5, at_least=0.0)
    lines = claims_table().splitlines()
    assert lines[0].startswith("claim ")
    assert [line.split("⟦")[0].strip() for line in lines[1:]] == ["first", "second claim"]
    assert "⟦1.5⟧ (at least 0)" in lines[1]
