"""A composite over time: less noise than one date, no cloud, no bias."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregstack.kernels.composite import composite


def test_has_less_noise_than_the_median_and_no_bias():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 10, (60, 60))
    blocks = truth + rng.normal(0, 1, (15, 60, 60))
    values, count = composite(blocks, np.ones(blocks.shape, bool))
    error, median_error = values - truth, np.median(blocks, axis=0) - truth
    assert (count == 15).all()
    assert error.std() < 0.93 * median_error.std()
    assert abs(error.mean()) < 4 * error.std() / 60


def test_cloud_that_the_mask_missed_does_not_show():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 10, (50, 50))
    blocks = truth + rng.normal(0, 0.1, (12, 50, 50))
    clean, _ = composite(blocks, np.ones(blocks.shape, bool))
    cloud = rng.random(blocks.shape) < 0.15
    seen = cloud.sum(axis=0) <= 4
    values, _ = composite(np.where(cloud, 80.0, blocks), np.ones(blocks.shape, bool))
    assert np.abs(values - truth)[seen].max() < 0.35
    assert np.sqrt(np.mean((values - truth)[seen] ** 2)) < 1.5 * np.sqrt(np.mean((clean - truth) ** 2))


@given(st.integers(1, 9), st.floats(0, 1), st.integers(0, 10_000))
def test_masked_values_are_never_read(times, share, seed):
    rng = np.random.default_rng(seed)
    blocks, usable = rng.normal(size=(times, 4, 5)), rng.random((times, 4, 5)) < share
    spoiled = np.where(usable, blocks, rng.choice([np.nan, np.inf, 1e30], blocks.shape))
    first, second = composite(blocks, usable), composite(spoiled, usable)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    enough = usable.sum(axis=0) >= 3
    assert (first[1] == np.where(enough, usable.sum(axis=0), 0)).all()
    assert (first[0][~enough] == 0).all()
    low = np.where(usable, blocks, np.inf).min(axis=0)
    high = np.where(usable, blocks, -np.inf).max(axis=0)
    assert (first[0][enough] >= low[enough] - 1e-5).all()
    assert (first[0][enough] <= high[enough] + 1e-5).all()


def test_order_of_dates_and_blocks_cut_by_bands():
    rng = np.random.default_rng(3)
    blocks = rng.normal(size=(6, 2, 8, 8))
    usable = rng.random((6, 1, 8, 8)) < 0.8
    values, _ = composite(blocks, usable)
    turned, _ = composite(blocks[::-1], usable[::-1])
    np.testing.assert_allclose(turned, values, rtol=1e-6, atol=1e-6)
    assert values.shape == (2, 8, 8)


def test_equal_dates_are_kept_exactly():
    image = np.random.default_rng(4).uniform(1, 5000, (9, 9)).astype(np.float32)
    values, _ = composite(np.stack([image] * 5), np.ones((5, 9, 9), bool))
    np.testing.assert_array_equal(values, image)


@pytest.mark.parametrize("fewest", [1, 2])
def test_few_dates(fewest):
    values, count = composite(np.array([[[4.0]], [[6.0]]]), np.ones((2, 1, 1), bool), fewest=fewest)
    assert values.item() == 5
    assert count.item() == 2
