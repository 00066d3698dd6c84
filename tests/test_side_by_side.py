"""Networks at work at once, in several Python threads or processes, find to the bit what they find alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from test_recurrent import ENGINES, NETWORKS, STOCK
from unrolled import engines, kernel, shares


def several(names):
    """Networks of each kind in one direction and in both, two of each size, no two with the same weights."""
    torch.manual_seed(0)
    made = [(NETWORKS[name], both) for name in names for both in (False, True) for _ in range(2)]
    return [cls(3, 5, layers=2, bidirectional=both, **own) for (cls, own, _), both in made]


def worked(network, seed):
    """What a network makes of a batch that the seed draws: outputs, and the gradients of all that it has."""
    draw = torch.Generator().manual_seed(seed)
    n, x = torch.randint(0, 30, (9,), generator=draw), torch.randn(9, 30, 3, generator=draw).requires_grad_()
    outputs, _ = network(x, n, need_state=False)
    return [outputs.detach(), *torch.autograd.grad(outputs.square().sum(), [x, *network.parameters()])]


def same(found, expected):
    return all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("engine", [*ENGINES, "torch.nn"])
def test_python_threads_find_what_one_finds(engine, count, threads):
    threads(count)
    networks = several(STOCK if engine == "torch.nn" else NETWORKS)
    meeting = threading.Barrier(len(networks))

    def often(i):
        torch.get_num_threads()  # a thread asks torch once; while a pool is being started it would be told 1
        meeting.wait()
        return [worked(networks[i], i) for _ in range(8)]

    with engines.force(engine), ThreadPoolExecutor(len(networks)) as pool:
        alone = [worked(network, i) for i, network in enumerate(networks)]
        shares._started.cache_clear()
        for expected, found in zip(alone, pool.map(often, range(len(networks))), strict=True):
            assert all(same(each, expected) for each in found)


def test_threads_that_ask_at_once_are_given_one_pool(threads):
    threads(2)
    shares._started.cache_clear()
    meeting = threading.Barrier(8)

    def ask(_):
        meeting.wait()
        return shares._pool(2)

    with ThreadPoolExecutor(8) as askers:
        first, *others = askers.map(ask, range(8))
    assert all(other is first for other in others)


class Worked(Dataset):
    """Item i: what the i-th network makes of a batch, by so many threads."""

    def __init__(self, networks, count):
        self.networks, self.count = networks, count

    def __len__(self):
        return len(self.networks)

    def __getitem__(self, i):
        torch.set_num_threads(self.count)  # a worker has one to begin with
        return worked(self.networks[i], i)


@pytest.mark.skipif(kernel.library() is None, reason="no compiler built the kernel")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning", "ignore:This DataLoader will")
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("how", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_data_loader_find_what_this_process_finds_beside_them(how, count, threads):
    threads(count)
    # PyTorch's own products on several threads, which minGRU and minLSTM begin with, never end in a forked process.
    names = NETWORKS if (how, count) != ("fork", 2) else [name for name in NETWORKS if not name.startswith("min_")]
    data = Worked(several(names), count)
    alone = [data[i] for i in range(len(data))]  # the threads of this process, which a fork leaves behind, are there
    beside = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context=how, timeout=120)
    for i, found in enumerate(beside):
        assert same(found, alone[i])
        assert same(data[i], alone[i])
