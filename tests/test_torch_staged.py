"""torch.ImageDataset(maxbytes=): the samples are those without it, and what is kept is shared by all workers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers.pipelines import two_stages
from helpers.samples import CASES, SIZE, Load, N, damage, read_all, write_samples

import bytecache

torch = pytest.importorskip("torch", reason="the torch adapter needs torch")
pytest.importorskip("PIL", reason="PNG files and masks are decoded by Pillow")
from torch.utils.data import DataLoader  # noqa: E402

from bytecache.torch import CacheReport, EpochSampler, ImageDataset, collate  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on a single processor
]


def samples_of(data, epoch, **options):
    """Return the samples of an epoch by number: lists of images and masks, as arrays."""
    torch.manual_seed(epoch)  # of the random crops
    sampler = EpochSampler(data, seed=0)
    sampler.set_epoch(epoch)
    batches = DataLoader(data, batch_size=5, sampler=sampler, collate_fn=list, **options)
    return {
        int(target): [each.numpy() for each in (inputs if isinstance(inputs, tuple) else (inputs,))]
        for batch in batches
        for inputs, target in batch
    }


def assert_equal(samples, expected):
    assert samples.keys() == expected.keys()
    for number, pictures in expected.items():
        assert len(samples[number]) == len(pictures)
        for picture, other in zip(samples[number], pictures, strict=True):
            assert picture.dtype == other.dtype
            np.testing.assert_array_equal(picture, other)


@pytest.mark.parametrize("shared", [None, False], ids=["shared", "private"])
@pytest.mark.parametrize("maxbytes", [1, 40_000, "1 MiB"], ids=["nothing fits", "some", "all"])
@pytest.mark.parametrize("name", CASES)
def test_samples_are_those_without_a_cache(tmp_path, name, maxbytes, shared):
    """Bit for bit, in each epoch, whatever of them is kept and wherever; damaged ones fail as they do without it."""
    kind, options = CASES[name]
    paths = write_samples(tmp_path, orientations="orient" in options)
    if "damaged" in name:
        damage(paths)
    plain = ImageDataset(paths, np.arange(N), load=Load(kind), **options)
    cached = ImageDataset(paths, np.arange(N), load=Load(kind), maxbytes=maxbytes, shared=shared, **options)
    for epoch in range(3):
        assert_equal(samples_of(cached, epoch), samples_of(plain, epoch))
    assert cached.skipped == plain.skipped
    assert (cached.load.cache_info().currsize > 0) is (maxbytes != 1)


def test_pictures_of_unequal_sizes_are_kept_decoded(tmp_path):
    """Without size=, each as large as it is."""
    paths = write_samples(tmp_path)
    plain = ImageDataset(paths, np.arange(N), load=Load())
    cached = ImageDataset(paths, np.arange(N), load=Load(), maxbytes="4 MiB", shared=False)
    for epoch in range(2):
        assert_equal(samples_of(cached, epoch), samples_of(plain, epoch))
    pixels = sum(plain[n][0].nbytes for n in range(N))
    assert pixels < cached.load.cache_stats().stages[1].currbytes < pixels + 200 * N


@pytest.mark.parametrize("shared", [None, False], ids=["shared", "private"])
def test_samples_come_of_both_stages(tmp_path, shared):
    """Files that wait for their storage are kept as they are if their pixels do not fit, and decoded at each epoch."""
    paths = write_samples(tmp_path)
    plain = ImageDataset(paths, np.arange(N), load=Load(), **SIZE)
    size = sum(len(Load()(path)) for path in paths)
    cached = ImageDataset(paths, np.arange(N), load=Load("file", 0.01), maxbytes=size, shared=shared, **SIZE)
    for epoch in range(3):
        assert_equal(samples_of(cached, epoch), samples_of(plain, epoch))
    read, decode = cached.load.cache_stats().stages
    assert read.hits > 0 and decode.runs > 0 and read.currsize > 0


def test_what_is_cut_out_at_random_is_kept_as_it_was_read(tmp_path):
    """There is no other stage."""
    paths = write_samples(tmp_path)
    options = {**SIZE, "resize": "random_crop"}
    data = ImageDataset(paths, np.arange(N), load=Load(), maxbytes="1 MiB", shared=False, **options)
    samples_of(data, 0)
    (read,) = data.load.cache_stats().stages
    size = sum(len(Load()(path)) for path in paths)
    assert read.currsize == N and size < read.currbytes < size + 200 * N


def test_kept_pixels_are_no_part_of_a_sample(tmp_path):
    """A sample may be written to, and the next epoch has the pixels of the file again."""
    paths = write_samples(tmp_path)
    data = ImageDataset(paths, load=Load(), maxbytes="1 MiB", shared=False, **SIZE)
    before = data[0].clone()
    for _ in range(2):
        sample = data[0]
        assert torch.equal(sample, before)
        sample.zero_()


@pytest.mark.foreign_threads
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_have_one_cache(tmp_path, method):
    """Each file is read once by all of them, in the first epoch; new workers find it in the second."""
    paths = write_samples(tmp_path)
    data = ImageDataset(paths, np.arange(N), load=Load(), maxbytes="1 MiB", **SIZE)
    report = CacheReport(data.load)
    plain = ImageDataset(paths, np.arange(N), load=Load(), **SIZE)
    for epoch, misses in enumerate([N, 0]):
        samples = samples_of(data, epoch, num_workers=2, multiprocessing_context=method)
        assert_equal(samples, samples_of(plain, epoch))
        assert report.end_epoch()["misses"] == misses


def test_a_batched_function_reads_the_misses_of_a_batch_in_one_call(tmp_path):
    """As HttpReader does."""
    paths, calls = write_samples(tmp_path), []

    def load(batch):
        calls.append(len(batch))
        return read_all(batch)

    data = ImageDataset(paths, np.arange(N), load=load, batched=True, maxbytes="1 MiB", read_ahead=0, **SIZE)
    plain = ImageDataset(paths, np.arange(N), load=Load(), **SIZE)
    for epoch in range(2):
        assert_equal(samples_of(data, epoch), samples_of(plain, epoch))
    assert sorted(calls) == [4, 5, 5, 5, 5]


@pytest.mark.parametrize("several", [False, True])
def test_a_store_that_is_kept_has_the_samples_of_an_earlier_dataset(tmp_path, stores, several):
    """Also for other paths among them: a sample's key is its path. And in a list of stores."""
    paths, store = write_samples(tmp_path), [stores(), stores()] if several else stores()
    first = ImageDataset(paths, load=Load(), store=store, **SIZE)
    pixels = [first[n] for n in range(N)]
    second = ImageDataset(paths[::2], load=Load(), store=store, **SIZE)
    assert all(torch.equal(second[n], pixels[2 * n]) for n in range(N // 2))
    assert second.load.cache_stats("all").misses == N


def test_datasets_of_other_paths_do_not_share(tmp_path):
    """Validation takes nothing of the budget of training."""
    paths = write_samples(tmp_path)
    train, val = (ImageDataset(part, load=Load(), maxbytes="1 MiB", **SIZE) for part in (paths[:20], paths[20:]))
    assert torch.equal(val[0], ImageDataset(paths, load=Load(), **SIZE)[20])
    assert train.load.cache_stats("all").misses == 0


def test_options_of_decoding_tell_datasets_apart(tmp_path):
    """The same store has other pixels for each."""
    paths = write_samples(tmp_path)
    for options in ({}, {"colorspace": "GRAY"}, {"fast": True}, {"resize": "crop"}):
        data = ImageDataset(paths, load=Load(), maxbytes="1 MiB", **SIZE, **options)
        plain = ImageDataset(paths, load=Load(), **SIZE, **options)
        assert torch.equal(data[0], plain[0])
        assert data.load.cache_stats("all").misses == 1


def test_a_copy_has_the_same_cache(tmp_path):
    """If processes share it; a private one starts empty."""
    paths = write_samples(tmp_path)
    for shared, misses in ((None, 1), (False, 2)):
        data = ImageDataset(paths, load=Load(), maxbytes="1 MiB", shared=shared, **SIZE)
        data[0]
        copy = pickle.loads(pickle.dumps(data))
        copy[0]
        assert data.load.cache_stats("all").misses + (0 if shared is None else copy.load.cache_stats().misses) == misses


@pytest.mark.foreign_threads
@pytest.mark.parametrize("workers", [0, 1])
def test_the_plan_is_printed_once(tmp_path, capfd, workers):
    """After the first epoch, by this process or by a worker."""
    paths = write_samples(tmp_path)
    data = ImageDataset(paths, np.arange(N), load=Load(), maxbytes="1 MiB", verbose=True, **SIZE)
    for epoch in range(3):
        samples_of(data, epoch, num_workers=workers)
        if epoch == 0 and workers == 0:
            assert capfd.readouterr().out.count(f"{N} items in") == 1
    assert capfd.readouterr().out.count(f"{N} items in") == (workers > 0)


def test_collate_makes_batches_of_kept_samples(tmp_path):
    """Channels last, as of samples that are decoded."""
    data = ImageDataset(write_samples(tmp_path), np.arange(N), load=Load(), maxbytes="1 MiB", **SIZE)
    for _ in range(2):
        for images, _targets in DataLoader(data, batch_size=8, collate_fn=collate):
            assert images.shape == (8, 3, 32, 48) and images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"shared": True}, TypeError, "give its budget as maxbytes="),
        ({"batched": True}, TypeError, "give its budget as maxbytes="),
        ({"maxbytes": -1}, ValueError, "maxbytes must be a positive int or a size"),
        ({"store": "/tmp/store"}, TypeError, "store must be a bytecache.SharedStore"),
        ({"maxbytes": 9, "load": bytecache.fill_once(Load())}, TypeError, "load is cached already"),
        ({"verbose": True}, TypeError, "verbose prints the plan of a cache"),
    ],
    ids=lambda value: None,
)
def test_options_that_contradict_each_other_are_refused(options, error, message):
    """The message says what to give instead."""
    with pytest.raises(error, match=message):
        ImageDataset(["a.jpg"], **{"load": Load(), **options})


def test_a_store_beside_a_budget_is_refused(stores):
    """The store has its own."""
    with pytest.raises(TypeError, match="the budget is the store's"):
        ImageDataset(["a.jpg"], load=Load(), maxbytes=9, store=stores())


def test_paths_that_no_store_takes_are_cached_in_memory():
    """Unless all processes must share."""
    paths = [frozenset([n]) for n in range(3)]

    def load(path):
        return np.full((4, 4, 3), next(iter(path)), np.uint8)

    data = ImageDataset(paths, load=load, maxbytes="1 MiB")
    assert [int(data[n].max()) for n in (0, 1, 2, 2)] == [0, 1, 2, 2]
    assert data.load.cache_info()[:2] == (1, 3)
    with pytest.raises(TypeError, match="frozenset"):
        ImageDataset(paths, load=load, maxbytes="1 MiB", shared=True)


class Items(torch.utils.data.Dataset):
    """Asks for an item, and returns nothing of it."""

    def __init__(self, load, count):
        self.load, self.count = load, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.load(index)
        return 0


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("factor", [0.5, 2])
def test_workers_keep_what_saves_most(workers, factor, tmp_path):
    """New ones in each epoch, they save as much of the bound together as one process would."""
    work = two_stages(600)
    work.runs = torch.zeros(work.runs.shape, dtype=torch.int64).share_memory_().numpy()
    budget = factor * float(work.nbytes[:, 0].sum())
    store = bytecache.SharedStore(tmp_path / "store", maxbytes=int(budget))
    load = bytecache.staged(*work.stages(), items=work.items, store=store, version=1)
    for epoch in range(3):
        work.runs[:] = 0
        order = torch.Generator().manual_seed(epoch)
        options = {"num_workers": workers, "multiprocessing_context": "fork", "shuffle": True, "generator": order}
        assert len(list(DataLoader(Items(load, work.items), batch_size=20, **options))) == 30
    assert work.saved(work.runs) >= 0.93 * work.bound(budget)
    store.close()
