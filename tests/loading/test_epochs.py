"""The order of an epoch, and the epoch that a requested batch belongs to."""

from __future__ import annotations

import numpy as np

from bytecache.loading.epochs import EpochTracker, epoch_order


def test_an_epochs_order_is_a_permutation_that_depends_on_seed_and_epoch_alone():
    """Equal (seed, epoch) give equal orders, others differ, and each contains every index once."""
    assert np.array_equal(epoch_order(100, 3, 5), epoch_order(100, 3, 5))
    orders = {tuple(epoch_order(100, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert epoch_order(5, 0, 3, shuffle=False).tolist() == [0, 1, 2, 3, 4]


def test_a_complete_pass_ends_its_epoch_and_an_interrupted_one_starts_over():
    """Requests ahead of training and interrupted passes leave the epoch as it is."""
    tracker = EpochTracker(3, in_request_order=True)
    assert [tracker.locate(i) for i in (0, 1)] == [(0, 0), (0, 1)]  # requested ahead of training
    tracker.start_pass()
    assert [tracker.locate(i) for i in (2, 0, 1)] == [(0, 0), (0, 1), (0, 2)]
    tracker.start_pass()
    tracker.start_pass()  # however often it is called
    assert [tracker.locate(i) for i in (1, 2)] == [(1, 0), (1, 1)]
    assert tracker.locate(1) == (1, 0)  # requested again: interrupted, and started over without a call of start_pass
    tracker.epoch = 7
    assert tracker.locate(2) == (7, 0)


def test_without_shuffle_a_batch_is_the_one_that_was_requested():
    """By index, the position of a request is its index."""
    tracker = EpochTracker(4, in_request_order=False)
    assert [tracker.locate(i) for i in (3, 1)] == [(0, 3), (0, 1)]
