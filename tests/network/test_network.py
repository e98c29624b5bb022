"""A network of shifts: what it promises for its items, on networks whose truth is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from coregstack.errors import InvalidRequest
from coregstack.model import Shift, ShiftEstimate, TiePoints
from coregstack.network import (
    ANCHOR_WEIGHTS,
    NetworkSolution,
    adjust,
    choose_pairs,
    observations,
    rank_anchors,
    triple_closures,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A network with its truth."""

    truth: NDArray[np.float64]
    pairs: NDArray[np.int64]
    shifts: NDArray[np.float64]
    sigmas: NDArray[np.float64]
    wrong: NDArray[np.bool_]

    def adjusted(self, **options) -> NetworkSolution:
        return adjust(self.pairs, self.shifts, self.sigmas, count=len(self.truth), anchor=0, **options)

    def normalised(self, solution: NetworkSolution) -> NDArray[np.float64]:
        """Errors in sigmas, shape (n - 1, 2); NaN where an item is not reached."""
        return ((solution.shift - self.truth) / np.where(solution.sigma > 0, solution.sigma, 1))[1:]


def made(
    count: int,
    *,
    seed: int,
    neighbours: int = 4,
    direct: float = 1.0,
    wrong: float = 0.0,
    understated: float = 1.0,
) -> Made:
    """Items in a row and across it, each with `neighbours` partners and, by chance `direct`, the anchor."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 2, (count, 2))
    truth[0] = 0
    chosen = {(0, k) for k in range(1, count) if rng.random() < direct}
    for k in range(1, count):
        near = [k + 1 + step for step in range(neighbours // 2)]
        far = rng.integers(1, count, neighbours - len(near)).tolist()
        chosen |= {(min(k, j), max(k, j)) for j in near + far if j < count and j != k}
    pairs = np.array(sorted(chosen))
    turned = rng.random(len(pairs)) < 0.5
    pairs[turned] = pairs[turned, ::-1]
    sigmas = rng.uniform(0.01, 0.05, (len(pairs), 2))
    shifts = truth[pairs[:, 1]] - truth[pairs[:, 0]] + understated * sigmas * rng.normal(size=sigmas.shape)
    bad = rng.random(len(pairs)) < wrong
    angle, length = rng.uniform(0, 2 * np.pi, bad.sum()), rng.uniform(1, 15, bad.sum())
    shifts[bad] += length[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return Made(truth=truth, pairs=pairs, shifts=shifts, sigmas=sigmas, wrong=bad)


# --- adjustment -------------------------------------------------------------------------------------------


def test_agrees_with_dense_least_squares():
    net = made(30, seed=1)
    solution = net.adjusted()
    assert solution.accepted.all()
    design = np.zeros((len(net.pairs), 30))
    rows = np.arange(len(net.pairs))
    design[rows, net.pairs[:, 1]], design[rows, net.pairs[:, 0]] = 1, -1
    for axis in range(2):
        scaled = design[:, 1:] / net.sigmas[:, axis, None]
        expected = np.linalg.lstsq(scaled, net.shifts[:, axis] / net.sigmas[:, axis], rcond=None)[0]
        np.testing.assert_allclose(solution.shift[1:, axis], expected, atol=1e-10)
        assert solution.variance_factor > 1
        sigma = np.sqrt(np.diag(np.linalg.inv(scaled.T @ scaled)) * solution.variance_factor)
        np.testing.assert_allclose(solution.sigma[1:, axis], sigma, rtol=1e-9)


def test_sign_is_that_of_shifted_images():
    rng = np.random.default_rng(3)
    scene = rng.normal(size=(40, 40))
    truth = [Shift(0, 0), Shift(3, -2), Shift(-1, 4)]
    # item(y - shift) = anchor(y)
    items = [np.roll(scene, (-int(s.y), -int(s.x)), axis=(0, 1)) for s in truth]

    def measured(anchor: int, item: int) -> tuple[int, int]:
        spectrum = np.fft.fft2(items[anchor]) * np.fft.fft2(items[item]).conj()
        peak = np.unravel_index(np.fft.ifft2(spectrum).real.argmax(), scene.shape)
        return tuple((int(k) + 20) % 40 - 20 for k in peak)

    pairs = [(0, 1), (1, 2)]
    solution = adjust(pairs, [measured(*pair) for pair in pairs], None, count=3, anchor=0)
    np.testing.assert_allclose(solution.shift, truth, atol=1e-9)


@pytest.mark.parametrize(("neighbours", "direct"), [(2, 1.0), (4, 1.0), (4, 0.3)])
def test_sigma_is_the_error_where_there_is_only_noise(neighbours, direct):
    errors, items = [], 0
    for seed in range(10):
        net = made(150, seed=seed, neighbours=neighbours, direct=direct)
        solution = net.adjusted()
        items += int(solution.reached.sum())
        errors.append(net.normalised(solution))
    spread = np.nanstd(np.concatenate(errors))
    assert 0.85 <= spread <= 1.15
    assert items >= 0.998 * 10 * 150


@pytest.mark.parametrize("understated", [1.5, 2.5])
def test_sigmas_that_were_stated_too_small_are_raised(understated):
    net = made(300, seed=5, understated=understated)
    solution = net.adjusted()
    assert solution.variance_factor == pytest.approx(understated**2, rel=0.15)
    assert 0.85 <= np.nanstd(net.normalised(solution)) <= 1.15


def test_sigmas_that_were_stated_too_large_are_left():
    net = made(300, seed=5, understated=0.3)
    solution = net.adjusted()
    assert solution.variance_factor == pytest.approx(0.09, abs=0.02)
    assert np.nanstd(net.normalised(solution)) < 0.5


def test_errors_that_all_pairs_of_an_item_share_are_in_its_sigma():
    errors = []
    for seed in range(10):
        net = made(150, seed=seed, understated=0.1)
        rng = np.random.default_rng(seed)
        own = rng.uniform(0.01, 0.03, (150, 2))
        shared = own * rng.normal(size=own.shape)
        first, second = net.pairs.T
        sigmas = np.hypot(own[first], own[second])
        solution = adjust(net.pairs, net.shifts + shared[second] - shared[first], sigmas, count=150, anchor=0)
        errors.append(net.normalised(solution))
    # the anchor's own error is that of all items at once: it does not average out
    assert 0.7 <= np.nanstd(np.concatenate(errors)) <= 1.1


@pytest.mark.parametrize(("biased", "share"), [(0.0, (0.0, 0.2)), (0.15, (0.3, 0.7)), (1.0, (1.0, 1.0))])
def test_unlike_pairs_are_doubted_as_far_as_their_loops_allow(biased, share):
    errors = []
    for seed in range(5):
        net = made(150, seed=seed, neighbours=8)
        rng = np.random.default_rng(seed)
        likeness = rng.choice([0.2, 0.8], len(net.pairs))
        # what a pair of likeness 0.2 may be off, px
        bias = 0.03 * np.exp(9 * (0.6 - 0.2)) * rng.normal(size=net.shifts.shape) * biased
        shifts = net.shifts + np.where(likeness[:, None] < 0.5, bias, 0)
        solution = adjust(net.pairs, shifts, net.sigmas, count=150, anchor=0, likeness=likeness)
        assert share[0] <= solution.bias_share <= share[1]
        errors.append(net.normalised(solution))
    # Loops may show a third of it: so sigmas are cautious where they show little.
    assert 0.4 <= np.nanstd(np.concatenate(errors)) <= 1.2


def test_seasons_that_only_unlike_pairs_join_do_not_tell_of_their_bias():
    # All pairs of summer (0 to 5) and winter (6 to 11) are off by the same 0.4 px, and so close.
    rng = np.random.default_rng(8)
    truth = np.vstack([np.zeros((1, 2)), rng.normal(size=(11, 2))])
    pairs = [(i, j) for i in range(12) for j in range(i + 1, 12)]
    across = np.array([i < 6 <= j for i, j in pairs])
    shifts = np.array([truth[j] - truth[i] for i, j in pairs]) + rng.normal(0, 0.01, (len(pairs), 2))
    shifts[across] += (0.4, 0)
    sigmas, likeness = np.full((len(pairs), 2), 0.01), np.where(across, 0.3, 0.8)
    solution = adjust(pairs, shifts, sigmas, count=12, anchor=0, likeness=likeness)
    assert solution.bias_share == 1
    assert solution.sigma[:6].max() < 0.02
    assert solution.sigma[6:].min() > 0.07


@pytest.mark.parametrize("wrong", [0.2, 0.3])
@pytest.mark.parametrize("direct", [1.0, 0.4])
@pytest.mark.parametrize("seed", range(5))
def test_wrong_pairs_are_rejected_and_mislead_no_item(wrong, direct, seed):
    net = made(150, seed=seed, direct=direct, wrong=wrong)
    solution = net.adjusted()
    assert not solution.accepted[net.wrong].any()
    assert np.nanmax(np.abs(net.normalised(solution))) < 5
    # By chance, some items have no two right pairs, or more wrong ones than right ones.
    assert solution.reached.mean() > 0.95
    assert solution.checked.mean() > (0.85 if wrong < 0.3 else 0.6)


def test_never_worse_than_direct_where_the_direct_pair_is_good():
    net = made(150, seed=8, wrong=0.2)
    solution = net.adjusted()
    direct = solution.accepted & (net.pairs == 0).any(axis=1)
    item = net.pairs[direct].max(axis=1)
    allowed = net.sigmas[direct] * np.sqrt(solution.variance_factor)
    assert (solution.sigma[item] <= allowed * (1 + 1e-9)).all()


def test_items_without_a_way_to_the_anchor_are_said_to_be_so():
    pairs = [(0, 1), (1, 2), (0, 2), (3, 4)]
    shifts = [(1, 0), (1, 0), (2, 0), (5, 5)]
    solution = adjust(pairs, shifts, None, count=6, anchor=0)
    assert solution.reached.tolist() == [True, True, True, False, False, False]
    assert np.isnan(solution.shift[3:]).all()
    assert np.isnan(solution.sigma[3:]).all()
    assert solution.path[3:] == ((), (), ())
    assert solution.accepted.tolist() == [True, True, True, False]
    assert all("No matched pair" in solution.reason[k] for k in (3, 4, 5))


def test_anchor_alone():
    solution = adjust(np.empty((0, 2)), np.empty((0, 2)), None, count=2, anchor=1)
    assert solution.reached.tolist() == [False, True]
    assert solution.shift[1].tolist() == [0, 0]
    assert solution.sigma[1].tolist() == [0, 0]
    assert solution.reason[1] == "This item is the anchor."


def test_failed_pairs_are_no_pairs():
    shifts = [(1.0, 0.0), (np.nan, np.nan), (2.0, 0.0)]
    solution = adjust([(0, 1), (1, 2), (0, 2)], shifts, None, count=3, anchor=0)
    assert solution.accepted.tolist() == [True, False, True]
    assert not solution.checked[1:].any()
    np.testing.assert_allclose(solution.shift, [(0, 0), (1, 0), (2, 0)], atol=1e-12)


def test_chain_is_followed_but_unchecked_and_wider():
    count, sigma = 12, 0.02
    pairs = [(k, k + 1) for k in range(count - 1)]
    solution = adjust(pairs, [(0.5, -0.25)] * 11, [(sigma, sigma)] * 11, count=count, anchor=0)
    np.testing.assert_allclose(solution.shift[:, 0], 0.5 * np.arange(count), atol=1e-10)
    assert solution.path[11] == tuple(range(11, -1, -1))
    assert not solution.checked[1:].any()
    assert (solution.sigma[:, 0] >= 2 * sigma * np.sqrt(np.arange(count)) - 1e-12).all()
    assert np.isnan(solution.closure).all()
    np.testing.assert_allclose(solution.redundancy, 0, atol=1e-9)
    assert "no closed loop" in solution.reason[5]


def test_one_wrong_pair_behind_another_leaves_what_cannot_be_decided():
    # Item 3 hangs on the loop of 0, 1, 2 by two pairs, one of which has to be wrong.
    pairs = [(0, 1), (1, 2), (0, 2), (1, 3), (2, 3), (3, 4)]
    shifts = [(1, 0), (1, 0), (2, 0), (3, 0), (-4, 5), (1, 1)]
    solution = adjust(pairs, shifts, [(0.02, 0.02)] * 6, count=5, anchor=0)
    assert solution.reached.tolist() == [True, True, True, False, False]
    assert "contradict" in solution.reason[3]
    assert not solution.accepted[3:].any()


def test_two_pairs_against_two_decide_nothing():
    pairs = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (1, 4)]
    pairs += [(k, 5) for k in (1, 2, 3, 4)]
    shifts = [(0.0, 0.0)] * 8 + [(2.0, 0.0), (2.0, 0.0), (-3.0, 1.0), (-3.0, 1.0)]
    solution = adjust(pairs, shifts, [(0.02, 0.02)] * 12, count=6, anchor=0)
    assert solution.reached.tolist() == [True] * 5 + [False]
    third = adjust([*pairs, (0, 5)], [*shifts, (2.0, 0.0)], None, count=6, anchor=0)
    assert third.reached.all()
    np.testing.assert_allclose(third.shift[5], (2, 0), atol=1e-9)


def test_item_without_direct_match_is_reached_through_others_and_says_so():
    pairs = [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]
    truth = np.array([(0, 0), (1, 2), (-3, 1), (4, 4)], float)
    shifts = [truth[j] - truth[i] for i, j in pairs]
    sigmas = [(0.01, 0.01), (0.03, 0.03), (0.02, 0.02), (0.02, 0.02), (0.02, 0.02)]
    solution = adjust(pairs, shifts, sigmas, count=4, anchor=0, names=["a", "b", "c", "d"])
    assert solution.checked.all()
    assert solution.path[3] == (3, 1, 0)
    assert solution.reason[3] == "Placed through b; 2 of its 2 matched pairs agree."
    np.testing.assert_allclose(solution.shift, truth, atol=1e-10)


def test_many_pairs_across_seasons_do_not_outvote_few_within_them():
    # Winter (0 to 5) against summer (8 to 13) is always off by the same 1.5 px; spring (6, 7) bridges.
    rng = np.random.default_rng(6)
    truth = np.vstack([np.zeros((1, 2)), rng.normal(size=(13, 2))])
    pairs = [(i, j) for i in range(14) for j in range(i + 1, 14)]
    season = np.array([0] * 6 + [1] * 2 + [2] * 6)
    apart = np.array([season[j] - season[i] for i, j in pairs])
    shifts = np.array([truth[j] - truth[i] for i, j in pairs]) + rng.normal(0, 0.01, (len(pairs), 2))
    shifts[apart == 2] += (1.5, 0)
    likeness = np.choose(apart, [0.65, 0.55, 0.2])
    sigmas = np.full((len(pairs), 2), 0.03)
    blind = adjust(pairs, shifts, sigmas, count=14, anchor=0)
    assert np.abs(blind.shift - truth).max() > 1
    seeing = adjust(pairs, shifts, sigmas, count=14, anchor=0, likeness=likeness)
    assert np.abs(seeing.shift - truth).max() < 0.05
    assert seeing.checked.all()
    unknown = adjust(pairs, shifts, sigmas, count=14, anchor=0, likeness=np.full(len(pairs), np.nan))
    np.testing.assert_array_equal(unknown.shift, blind.shift)


def test_pairs_that_are_hardly_known_confirm_nothing():
    pairs, shifts = [(0, 1), (1, 2), (0, 2)], [(1, 0), (1, 0), (2, 0)]
    vague = adjust(pairs, shifts, [(0.02, 0.02), (0.02, 0.02), (2, 2)], count=3, anchor=0)
    assert vague.reached.all()
    assert not vague.checked[1:].any()


def test_what_lies_behind_a_disputed_item_is_not_checked():
    # Two full groups of five; two pairs that agree lead to item 5, two that agree with none to 7 and 8.
    groups = [range(5), range(5, 10)]
    pairs = [(i, j) for group in groups for i in group for j in group if i < j]
    shifts = [(0.0, 0.0)] * len(pairs) + [(0.0, 0.0), (0.0, 0.0), (3.0, 1.0), (-2.0, 4.0)]
    pairs += [(0, 5), (1, 5), (2, 7), (3, 8)]
    solution = adjust(pairs, shifts, np.full((len(pairs), 2), 0.02), count=10, anchor=0)
    assert solution.reached.all()
    np.testing.assert_allclose(solution.shift, 0, atol=1e-6)
    assert solution.checked.tolist() == [True] * 5 + [False] * 5
    assert "unchecked" in solution.reason[9]


def test_redundancy_adds_up_and_closure_is_that_of_the_loop():
    net = made(60, seed=4)
    solution = net.adjusted()
    reached = solution.reached.sum() - 1
    assert solution.redundancy.sum() == pytest.approx(solution.accepted.sum() - reached)
    shifts = [(1.0, 0.0), (1.0, 0.0), (2.03, 0.04)]
    triangle = adjust([(0, 1), (1, 2), (0, 2)], shifts, [(0.05, 0.05)] * 3, count=3, anchor=0)
    np.testing.assert_allclose(triangle.closure, 0.05, rtol=1e-9)
    np.testing.assert_allclose(triangle.redundancy, [0, 0.5, 0.5], atol=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.25]))
def test_order_and_direction_of_pairs_and_items_do_not_matter(seed, wrong):
    net = made(25, seed=seed, wrong=wrong, direct=0.7)
    expected = net.adjusted()
    rng = np.random.default_rng(seed + 1)
    order, name = rng.permutation(len(net.pairs)), rng.permutation(25)
    turned = rng.random(len(order)) < 0.5
    pairs, shifts = name[net.pairs[order]], net.shifts[order].copy()
    pairs[turned], shifts[turned] = pairs[turned, ::-1], -shifts[turned]
    solution = adjust(pairs, shifts, net.sigmas[order], count=25, anchor=int(name[0]))
    np.testing.assert_allclose(solution.shift[name], expected.shift, atol=1e-8)
    np.testing.assert_allclose(solution.sigma[name], expected.sigma, rtol=1e-6)
    assert (solution.reached[name] == expected.reached).all()
    assert (solution.checked[name] == expected.checked).all()
    assert (solution.accepted == expected.accepted[order]).all()


def test_same_numbers_every_time():
    net = made(80, seed=2, wrong=0.25)
    first, second = net.adjusted(), net.adjusted()
    np.testing.assert_array_equal(first.shift, second.shift)
    np.testing.assert_array_equal(first.sigma, second.sigma)
    assert first.path == second.path


def test_two_thousand_items_with_ten_pairs_each_are_adjusted_as_few_are():
    net = made(2000, seed=0, neighbours=4, wrong=0.2)
    assert len(net.pairs) > 9000
    solution = net.adjusted()
    assert np.nanmax(np.abs(net.normalised(solution))) < 6
    assert solution.reached.mean() > 0.98


def test_bridges_and_paths_agree_with_networkx():
    rng = np.random.default_rng(11)
    count = 40
    chosen = {(int(rng.integers(max(0, k - 3), k)), k) for k in range(1, count)}
    chosen |= {tuple(sorted(map(int, rng.choice(count, 2, replace=False)))) for _ in range(12)}
    pairs = sorted(chosen)
    truth = np.vstack([np.zeros((1, 2)), rng.normal(size=(count - 1, 2))])
    sigmas = rng.uniform(0.01, 0.05, (len(pairs), 2))
    shifts = [truth[j] - truth[i] for i, j in pairs]
    solution = adjust(pairs, shifts, sigmas, count=count, anchor=0)
    graph = nx.Graph()
    for (i, j), sigma in zip(pairs, sigmas, strict=True):
        graph.add_edge(i, j, variance=(sigma**2).sum())
    for item in range(count):
        assert solution.path[item] == tuple(nx.dijkstra_path(graph, item, 0, weight="variance"))
        assert solution.checked[item] == (item == 0 or nx.edge_connectivity(graph, item, 0) > 1)


def test_observations_of_estimates():
    none = np.empty(0)
    ties = TiePoints(
        y=none, x=none, shift_y=none, shift_x=none, weight=none, inlier=none > 0, band=none.astype(int)
    )
    known = ShiftEstimate(shift=Shift(1, 2), sigma=Shift(0.1, 0.2), reason="", ties=ties)
    lost = ShiftEstimate(shift=None, sigma=None, reason="cloud", ties=ties)
    shifts, sigmas = observations([known, lost, None])
    np.testing.assert_array_equal(shifts, [(1, 2), (np.nan, np.nan), (np.nan, np.nan)])
    np.testing.assert_array_equal(sigmas, [(0.1, 0.2), (np.nan, np.nan), (np.nan, np.nan)])
    assert observations([])[0].shape == (0, 2)


def test_likeness_of_other_length_is_refused():
    with pytest.raises(InvalidRequest, match="likeness"):
        adjust([(0, 1)], [(0, 0)], None, count=2, anchor=0, likeness=[0.5, 0.5])


@pytest.mark.parametrize(
    ("pairs", "anchor", "said"),
    [
        ([(0, 1), (1, 0)], 0, "once only"),
        ([(0, 1), (1, 1)], 0, "two different items"),
        ([(0, 1), (1, 7)], 0, "two different items"),
        ([(0, 1)], 0, "One shift and one sigma"),
        ([(0, 1), (0, 2)], 3, "The anchor"),
    ],
)
def test_requests_that_make_no_network(pairs, anchor, said):
    with pytest.raises(InvalidRequest, match=said):
        adjust(pairs, [(0, 0), (0, 0)], None, count=3, anchor=anchor)


# --- loops ------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(3, 20), st.floats(0.1, 1))
def test_triples_are_all_triangles_and_close_on_truth(seed, count, share):
    rng = np.random.default_rng(seed)
    every = [(i, j) for i in range(count) for j in range(i) if rng.random() < share]
    pairs = np.array([p if rng.random() < 0.5 else p[::-1] for p in every], np.int64).reshape(-1, 2)
    place = rng.normal(size=(count, 2))
    shifts = place[pairs[:, 1]] - place[pairs[:, 0]]
    triples = triple_closures(pairs, shifts)
    graph = nx.Graph(pairs.tolist())
    expected = sorted(tuple(sorted(c)) for c in nx.enumerate_all_cliques(graph) if len(c) == 3)
    assert [tuple(t) for t in triples.items.tolist()] == expected
    np.testing.assert_allclose(triples.closure, 0, atol=1e-12)
    if expected:
        shifts[triples.pairs[0, 0]] += (3, -4)
        closure = triple_closures(pairs, shifts).closure[0]
        assert np.hypot(*closure) == pytest.approx(5)


# --- choice of pairs --------------------------------------------------------------------------------------


def dates(count: int, seed: int = 0) -> NDArray[np.datetime64]:
    days = np.random.default_rng(seed).integers(0, 2500, count)
    return np.datetime64("2017-01-01") + days.astype("timedelta64[D]")


def test_every_item_meets_the_anchor_and_cost_is_linear():
    for count in (2, 3, 10, 100, 400):
        pairs = choose_pairs(dates(count), anchor=count // 2)
        assert pairs == sorted(set(pairs))
        assert all(i < j for i, j in pairs)
        anchor = {i + j - count // 2 for i, j in pairs if count // 2 in (i, j)}
        assert anchor == set(range(count)) - {count // 2}
        assert len(pairs) <= 3 * count


def test_items_stay_connected_without_the_anchor():
    pairs = choose_pairs(dates(200), anchor=7, clear=np.random.default_rng(0).random(200))
    graph = nx.Graph([p for p in pairs if 7 not in p])
    assert nx.is_connected(graph)
    assert len(graph) == 199
    assert max(dict(graph.degree).values()) <= 40


def test_partners_are_near_in_season_and_alike():
    rng = np.random.default_rng(2)
    times = dates(300, seed=3)
    summer = (times - times.astype("datetime64[Y]")).astype(int) // 91 % 2 == 0
    looks = rng.normal(size=(2, 200))
    features = looks[summer.astype(int)] + 0.5 * rng.normal(size=(300, 200))
    pairs = np.array([p for p in choose_pairs(times, anchor=0, features=features) if 0 not in p])
    alike = summer[pairs[:, 0]] == summer[pairs[:, 1]]
    assert alike.mean() > 0.95


def test_cloudy_items_lean_on_clear_ones():
    clear = np.where(np.arange(100) % 2 == 0, 0.95, 0.3)
    pairs = np.array([p for p in choose_pairs(dates(100), anchor=0, clear=clear) if 0 not in p])
    assert (clear[pairs].max(axis=1) > 0.9).mean() > 0.95


def test_items_that_do_not_overlap_are_never_paired_but_all_are_connected():
    left = 60.0 * np.arange(30)
    boxes = np.stack([np.zeros(30), left, np.full(30, 50.0), left + 100], axis=1)
    pairs = choose_pairs(dates(30), anchor=0, boxes=boxes)
    assert all(boxes[i, 3] > boxes[j, 1] for i, j in pairs)
    assert pairs == [(k, k + 1) for k in range(29)]
    boxes[20:, :] += 10_000
    parts = list(nx.connected_components(nx.Graph(choose_pairs(dates(30), anchor=0, boxes=boxes))))
    assert sorted(map(len, parts)) == [10, 20]


def test_times_may_repeat_be_unsorted_or_missing():
    times = np.array(["2020-01-05", "NaT", "2019-01-05", "2020-01-05"], "datetime64[D]")
    pairs = choose_pairs(times, anchor=0)
    assert {(0, 1), (0, 2), (0, 3)} < set(pairs)
    assert pairs == choose_pairs(times, anchor=0)


@pytest.mark.parametrize(
    "options",
    [
        {"anchor": 3},
        {"anchor": 0, "neighbours": 3},
        {"anchor": 0, "clear": [1, 1]},
        {"anchor": 0, "features": np.ones((2, 4))},
        {"anchor": 0, "boxes": [(0, 0, 0, 0)] * 3},
    ],
)
def test_requests_for_pairs_that_make_no_sense(options):
    with pytest.raises(InvalidRequest):
        choose_pairs(dates(3), **options)


# --- choice of the anchor ---------------------------------------------------------------------------------


def test_a_cloudy_or_small_item_is_no_anchor():
    ranking = rank_anchors(area=[1, 1, 0.2], clear=[0.3, 0.9, 1.0], sharpness=[1, 0.9, 1])
    assert [score.item for score in ranking] == [1, 0, 2]
    assert all(0 <= score.total <= 1 for score in ranking)


def test_the_item_that_the_others_look_like_is_first():
    similarity = np.array([[1, 0.9, 0.8], [0.9, 1, 0.2], [0.8, 0.2, 1]])
    best = rank_anchors(area=[1] * 3, clear=[1] * 3, similarity=similarity)[0]
    assert best.item == 0
    assert best.parts == {"similarity": 1.0}


def test_texture_in_common_outweighs_sharpness_and_season():
    times = np.array(["2020-07-01", "2020-07-05", "2020-07-09", "2020-10-01"], "datetime64[D]")
    likeness = [0.60, 0.60, 0.60, 0.72]
    best = rank_anchors(
        area=[1] * 4, clear=[1] * 4, similarity=likeness, times=times, sharpness=[1, 1, 1, 0.7]
    )[0]
    assert best.item == 3


def test_season_sensor_and_ground_control_count_and_are_said():
    times = np.array(["2020-06-01", "2021-06-10", "2020-12-25", "2020-07-01"], "datetime64[D]")
    ranking = rank_anchors(
        area=[1] * 4,
        clear=[1] * 4,
        times=times,
        sensors=["PSB.SD", "PSB.SD", "PS2", None],
        ground_control=[True, False, False, None],
        names=["a", "b", "c", "d"],
    )
    assert ranking[0].item == 0
    assert ranking[-1].item == 2
    assert ranking[0].sentence.startswith("a: sees 100 % of the area, 100 % clear")
    assert ranking[0].sentence.endswith("located by ground control.")
    assert set(ranking[0].parts) < set(ANCHOR_WEIGHTS)


def test_anchor_weights_add_up():
    assert sum(ANCHOR_WEIGHTS.values()) == pytest.approx(1)


def test_measures_of_other_length_are_refused():
    with pytest.raises(InvalidRequest, match="sharpness"):
        rank_anchors(area=[1, 1], clear=[1, 1], sharpness=[1])
