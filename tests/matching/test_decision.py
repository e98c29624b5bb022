"""The decision is the documented table, whatever the numbers are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregstack.errors import CoregError, InvalidRequest
from coregstack.kernels.displacement import constant
from coregstack.kernels.told import as_one_shift
from coregstack.matching.decision import (
    ANCHOR_QUALITY,
    LEAST_SHIFT,
    decide,
    failure,
    lacks_displacement,
    stays_unapplied,
    treat,
)
from coregstack.matching.options import MatchSettings
from coregstack.model import DisplacementEstimate, Scores, Shift, ShiftEstimate, Status, TiePoints

_NONE = np.empty(0)
TIES = TiePoints(
    y=_NONE,
    x=_NONE,
    shift_y=_NONE,
    shift_x=_NONE,
    weight=_NONE,
    inlier=_NONE.astype(bool),
    band=_NONE.astype(int),
)

scores = st.floats(0, 1)
numbers = st.floats(-50, 50)
shifts = st.builds(Shift, numbers, numbers)
limits = st.builds(
    lambda t, m: MatchSettings(threshold=t, min_improvement=m), st.floats(0.05, 1), st.floats(0, 0.2)
)


def found(shift: Shift | None, reason: str = "") -> DisplacementEstimate:
    sigma = None if shift is None else Shift(0.02, 0.03)
    return as_one_shift(ShiftEstimate(shift=shift, sigma=sigma, reason=reason, ties=TIES))


def test_the_defaults_are_the_documented_ones() -> None:
    assert MatchSettings() == MatchSettings(threshold=0.8, min_improvement=0.001)


@given(st.one_of(st.none(), shifts), scores, st.one_of(st.none(), scores), limits)
def test_a_score_at_or_above_the_threshold_is_already_aligned(
    shift: Shift | None, before: float, after: float | None, rule: MatchSettings
) -> None:
    before = max(before, rule.threshold)
    quality = decide(found(shift), Scores(before=before, after=after), rule)
    assert quality.status is Status.ALREADY_ALIGNED
    assert (quality.before, quality.after, quality.improvement) == (before, None, None)
    # the remaining shift can be read, whatever is done
    assert quality.shift == shift


@given(shifts, scores, scores, limits)
def test_below_the_threshold_the_improvement_decides(
    shift: Shift, before: float, after: float, rule: MatchSettings
) -> None:
    before = min(before, np.nextafter(rule.threshold, 0))
    quality = decide(found(shift), Scores(before=before, after=after), rule)
    enough = after - before >= rule.min_improvement
    assert quality.status is (Status.COREGISTERED if enough else Status.NO_IMPROVEMENT)
    assert (quality.before, quality.after, quality.improvement) == (before, after, after - before)
    assert quality.shift == shift
    assert quality.sigma == Shift(0.02, 0.03)


@given(st.one_of(st.none(), shifts), st.one_of(st.none(), scores), st.one_of(st.none(), scores), limits)
def test_without_shift_or_scores_it_has_failed(
    shift: Shift | None, before: float | None, after: float | None, rule: MatchSettings
) -> None:
    if before is not None:
        before = min(before, np.nextafter(rule.threshold, 0))
    if shift is not None and before is not None and after is not None:
        after = None
    why = "The windows disagree."
    quality = decide(found(shift, why), Scores(before=before, after=after), rule, why if shift else "")
    assert quality.status is Status.FAILED
    assert (quality.after, quality.improvement) == (None, None)
    assert quality.details.startswith("The windows disagree.")


@given(st.one_of(st.none(), shifts), st.one_of(st.none(), scores), st.one_of(st.none(), scores))
def test_details_always_say_something(shift: Shift | None, before: float | None, after: float | None) -> None:
    details = decide(found(shift), Scores(before=before, after=after), MatchSettings()).details
    assert details[0].isupper()
    assert details.endswith(".")


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        (0.8, 0.9, Status.ALREADY_ALIGNED),
        (0.7999, 0.801, Status.COREGISTERED),
        (0.5, 0.501, Status.COREGISTERED),
        (0.5, 0.5009, Status.NO_IMPROVEMENT),
        (0.5, 0.4, Status.NO_IMPROVEMENT),
        (0.0, 1.0, Status.COREGISTERED),
    ],
)
def test_the_edges_of_the_table(before: float, after: float, status: Status) -> None:
    assert decide(found(Shift(1, 1)), Scores(before=before, after=after), MatchSettings()).status is status


@pytest.mark.parametrize("name", ["threshold", "min_improvement"])
@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf")])
def test_limits_outside_their_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidRequest, match=f"{name} has to lie between 0 and 1") as error:
        MatchSettings(**{name: value})
    assert isinstance(error.value, CoregError)
    assert isinstance(error.value, ValueError)


@given(shifts, scores, scores, st.booleans())
def test_what_is_done_follows_the_table(shift: Shift, before: float, after: float, same_crs: bool) -> None:
    quality = decide(found(shift), Scores(before=before, after=after), MatchSettings())
    done = treat(quality, same_crs=same_crs)
    expected = {
        Status.ALREADY_ALIGNED: ("_coreg", not same_crs, Shift(0, 0)),
        Status.COREGISTERED: ("_coreg", True, shift),
        Status.NO_IMPROVEMENT: ("", False, Shift(0, 0)),
        Status.FAILED: ("", False, Shift(0, 0)),
    }
    assert (done.suffix, done.placed, done.move) == expected[quality.status]


@pytest.mark.parametrize("same_crs", [True, False])
def test_the_anchor_and_failures_are_copied(same_crs: bool) -> None:
    anchor = treat(ANCHOR_QUALITY, same_crs=same_crs)
    assert (anchor.suffix, anchor.placed, anchor.move) == ("_anchor", False, Shift(0, 0))
    failed = failure("It does not overlap the anchor.")
    assert failed.status is Status.FAILED
    assert failed.details.startswith("It does not overlap the anchor.")
    left = treat(failed, same_crs=same_crs)
    assert (left.suffix, left.placed, left.move) == ("", False, Shift(0, 0))


# --- by evidence


@given(shifts, st.floats(1e-4, 5), scores, scores)
def test_by_evidence_what_is_significant_moves_whatever_the_score(
    shift: Shift, sigma: float, before: float, after: float
) -> None:
    estimate = replace(found(shift), sigma=Shift(sigma, sigma))
    quality = decide(estimate, Scores(before=before, after=after), MatchSettings(decide="evidence"))
    known = max(abs(shift.y), abs(shift.x)) > 2 * sigma and np.hypot(*shift) > LEAST_SHIFT
    assert quality.status is (Status.COREGISTERED if known else Status.ALREADY_ALIGNED)
    assert (quality.improvement == after - before) if known else (quality.improvement is None)
    assert "sigma" in quality.details


def test_by_evidence_what_is_not_known_fails() -> None:
    quality = decide(
        found(None, "no texture"), Scores(before=0.95, after=None), MatchSettings(decide="evidence")
    )
    assert quality.status is Status.FAILED
    assert quality.details == "No texture."


@pytest.mark.parametrize(("before", "after"), [(0.9, 0.95), (0.5, 0.45)])
def test_a_known_shift_that_stays_by_the_score_is_told(before: float, after: float) -> None:
    scores_of = Scores(before=before, after=after)
    kept = decide(found(Shift(0.65, 0.0)), scores_of, MatchSettings())
    assert (
        "shift of x +0.00, y +0.65 px was found but is not applied: decide='evidence' applies it"
        in kept.details
    )
    assert stays_unapplied(kept)
    assert kept.residual == pytest.approx(0.65)
    small = decide(found(Shift(0.05, 0.0)), scores_of, MatchSettings())
    assert "evidence" not in small.details
    assert not stays_unapplied(small)


def test_where_a_pattern_spoils_the_score_what_is_known_is_applied() -> None:
    spoiled = Scores(before=0.5, after=0.45, held=0.85)
    moved = decide(found(Shift(0.65, 0.0)), spoiled, MatchSettings())
    assert moved.status is Status.COREGISTERED
    assert "0.850, only 0.500 is counted" in moved.details
    unsure = replace(found(Shift(0.65, 0.0)), sigma=Shift(0.4, 0.4))
    assert decide(unsure, spoiled, MatchSettings()).status is Status.NO_IMPROVEMENT
    aligned = decide(found(Shift(0.65, 0.0)), replace(spoiled, before=0.82), MatchSettings())
    assert aligned.status is Status.ALREADY_ALIGNED


def test_a_field_is_applied_and_needs_to_be_there() -> None:
    bent = constant(Shift(0.5, 0.5))
    estimate = replace(found(Shift(0.5, 0.5)), model="field", displacement=bent, spread=0.4, residual=0.03)
    quality = decide(estimate, Scores(before=0.5, after=0.9), MatchSettings())
    assert treat(quality, same_crs=True).move is bent
    assert (quality.model, quality.spread, quality.residual) == ("field", 0.4, 0.03)
    assert not lacks_displacement(quality)
    assert lacks_displacement(replace(quality, displacement=None))
