"""The sampler's state: a run that is resumed gets the samples that the first one had not yet."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the sampler is torch's")
from torch.utils.data import DataLoader  # noqa: E402

from bytecache.loading.epochs import epoch_order  # noqa: E402
from bytecache.loading.sampler import SharedOrder  # noqa: E402
from bytecache.torch import EpochSampler, ImageDataset  # noqa: E402

N = 20


def load(_):
    return np.zeros((2, 2, 3), np.uint8)


def make(**options):
    return EpochSampler(N, **{"seed": 3, **options})


@pytest.mark.parametrize("ranks", [{}, {"rank": 1, "world": 3}], ids=str)
@pytest.mark.parametrize("taken", [0, 1, 5, 6])
def test_a_resumed_epoch_has_the_rest(ranks, taken):
    """The epoch after it is whole; the state is what JSON can hold."""
    sampler = make(**ranks)
    sampler.set_epoch(4)
    whole = list(sampler)
    indices = iter(sampler)
    for _ in range(taken):
        next(indices)
    again = make(**ranks)
    again.load_state_dict(json.loads(json.dumps(sampler.state_dict())))
    again.set_epoch(4)  # as a training loop does: it is the epoch already
    assert again.state_dict() == sampler.state_dict()
    assert list(again) == whole[taken:]
    again.set_epoch(5)
    sampler.set_epoch(5)
    assert list(again) == list(sampler) and len(list(again)) == len(again)


def test_a_state_after_an_epoch_leaves_nothing_of_it():
    """A loop that starts at its epoch has an empty one, then goes on; a sampler that is further stays there."""
    sampler = make()
    list(sampler)
    state = sampler.state_dict()
    assert (state["epoch"], state["position"]) == (0, N)
    again = make()
    again.load_state_dict(state)
    assert list(again) == [] and list(again) == epoch_order(N, 3, 0).tolist()
    further = make()
    further.set_epoch(1)
    further.load_state_dict(state)
    assert list(further) == epoch_order(N, 3, 1).tolist()


def test_another_epoch_starts_at_its_start():
    """Set after a state was loaded, or while an iteration is under way."""
    sampler = make()
    next(iter(sampler))
    sampler.load_state_dict(sampler.state_dict())
    sampler.set_epoch(1)
    assert sampler.state_dict()["position"] == 0
    assert list(sampler) == epoch_order(N, 3, 1).tolist()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.foreign_threads
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_batches_prefetched_by_workers_are_not_lost(workers):
    """With workers, the position is what was trained on; without, it is what was yielded, batches ahead or not."""
    data = ImageDataset(range(N), range(N), load=load)
    sampler = EpochSampler(data, seed=3)
    loader = DataLoader(data, batch_size=3, sampler=sampler, num_workers=workers)
    batches = iter(loader)
    trained = [next(batches)[1].tolist() for _ in range(2)]
    ahead = sampler.state_dict()["position"]
    assert ahead == 6 if workers == 0 else ahead > 6
    state = sampler.state_dict(position=2 * 3)
    del batches
    again = EpochSampler(data, seed=3)
    again.load_state_dict(state)
    rest = [targets.tolist() for _, targets in DataLoader(data, batch_size=3, sampler=again, num_workers=workers)]
    assert sum(trained + rest, []) == epoch_order(N, 3, 0).tolist()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.foreign_threads
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # torchdata calls what torch warns of
def test_stateful_data_loader_resumes(workers):
    """torchdata's loader saves and loads the sampler's state as its own, batches prefetched or not."""
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="StatefulDataLoader is torchdata's")
    data = ImageDataset(range(N), range(N), load=load)

    def loader():
        sampler = EpochSampler(data, seed=3)
        return sampler, stateful.StatefulDataLoader(data, batch_size=3, sampler=sampler, num_workers=workers)

    sampler, first = loader()
    sampler.set_epoch(2)
    batches = iter(first)
    trained = [next(batches)[1].tolist() for _ in range(2)]
    state = first.state_dict()
    resumed_sampler, resumed = loader()
    resumed.load_state_dict(state)
    rest = [targets.tolist() for _, targets in resumed]
    assert sum(trained + rest, []) == epoch_order(N, 3, 2).tolist()
    resumed_sampler.set_epoch(3)
    assert sum((targets.tolist() for _, targets in resumed), []) == epoch_order(N, 3, 3).tolist()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seed": 4}, "the state must be of an EpochSampler with seed=3, got 4: resume with the arguments"),
        ({"n": 21}, "with n=20, got 21"),
        ({"world": 2}, "with world=1, got 2"),
        ({"shuffle": False}, "with shuffle=True, got False"),
        ({"position": 21}, "position must be from 0 to 20, the samples of an epoch, got 21"),
        ({"position": -1}, "position must be an int of 0 or more"),
        ({"epoch": -1}, "epoch must be an int of 0 or more"),
    ],
    ids=str,
)
def test_a_state_of_another_sampler_is_refused(change, message):
    """Its position would be one in another order."""
    sampler = make()
    with pytest.raises(ValueError, match=message):
        sampler.load_state_dict({**sampler.state_dict(), **change})
    with pytest.raises(ValueError, match="position must be from 0 to 20"):
        sampler.state_dict(position=21)


# what follows a batch


def announced(n=N):
    order = SharedOrder(n)
    order.announce(np.arange(n)[::-1])
    return order


def steps(order, batches, *place):
    """Return, for each batch in turn, those that are expected to follow it."""
    found = [order.following(batch, *place) for batch in batches]
    return [following if following is None else list(following) for following in found]


def test_what_follows_a_batch_are_the_next_whole_ones():
    """A loader may drop one that is not whole."""
    order = announced(8)
    assert steps(order, [(7, 6, 5), (4, 3, 2), (1, 0)]) == [[(4, 3, 2)], [], []]


def test_before_an_epoch_nothing_is_known():
    """Nor of an empty batch, nor of one that the epoch has not."""
    assert SharedOrder(8).following((0, 0)) is None
    assert steps(announced(8), [(), (1, 2), (0, 1)]) == [None] * 3


def test_a_worker_of_several_gets_every_so_manieth():
    """From the batch of its number on."""
    assert steps(announced(8), [(5, 4), (1, 0)], 1, 2) == [[(1, 0)], []]
    assert steps(announced(8), [(7, 6), (3, 2)], 0, 2) == [[(3, 2)], []]


def test_a_share_of_the_batches_is_learned():
    """As Accelerate gives them: every second one, or half of each; in a later epoch it is known."""
    order = announced()
    assert steps(order, [(17, 16), (13, 12), (9, 8)]) == [None, None, [(5, 4), (1, 0)]]
    order.announce(np.arange(N))
    assert steps(order, [(2, 3), (6, 7)]) == [None, [(10, 11), (14, 15), (18, 19)]]


def test_a_batch_out_of_order_is_not_followed():
    """Those after it are as soon as two of them are as far apart."""
    order = announced(12)
    found = steps(order, [(11, 10), (3, 2), (9, 8), (7, 6), (5, 4)])
    assert found == [[(9, 8), (7, 6), (5, 4), (3, 2), (1, 0)], None, None, None, [(3, 2), (1, 0)]]


def test_what_follows_ends_with_the_epoch():
    """A batch of an epoch that was broken off is not taken from the next one."""
    order = announced(8)
    following = order.following((7, 6))
    assert next(following) == (5, 4)
    order.announce(np.arange(8))
    assert list(following) == []
    assert steps(order, [(0, 1)]) == [[(2, 3), (4, 5), (6, 7)]]


def test_a_copy_knows_no_epoch_until_its_own_sampler_begins_one():
    """Another dataset's order is not its own."""
    data = ImageDataset(range(N), load=load)
    sampler = EpochSampler(data, seed=0)
    first = tuple(next(iter(sampler)) for _ in range(1))
    assert data._order.following(first) is not None
    data, sampler = copy.deepcopy((data, sampler))
    assert data._order.following(first) is None
    indices = iter(sampler)
    assert data._order.following((next(indices),)) is not None
