"""The cache of memory under NumPy."""

import ctypes
import gc
import threading
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu
from danlu.kernels.runtime import blocks, memory, road
from tests.unit.kernel_texts import in_a_process

MIB = 1 << 20


@pytest.fixture(autouse=True)
def installed():
    if road.reason() is not None:
        pytest.skip(road.reason())
    memory.install()
    if memory.reason() is not None:
        pytest.skip(memory.reason())
    gc.collect()
    memory.empty_cache()


def address(array):
    return array.__array_interface__["data"][0]


def test_freed_memory_is_handed_out_again():
    array = np.empty(MIB, np.uint8)
    where, before = address(array), memory.statistics()
    del array
    assert memory.statistics().cached == before.cached + MIB
    again = np.empty(MIB - 100, np.uint8)
    after = memory.statistics()
    assert address(again) == where
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)
    assert after.allocated == before.allocated


@pytest.mark.parametrize(
    "size", [65535, 65536, 65537, 73728, 73729, 131072, 131073, 1000003, 5 * MIB, 2 * MIB + 1]
)
def test_blocks_are_aligned_and_little_is_wasted(size):
    arrays, found = [], []
    for _ in range(3):  # what else the process allocates meanwhile does not come three times
        before = memory.statistics().allocated
        arrays.append(np.empty(size, np.uint8))
        found.append(memory.statistics().allocated - before)
    array, taken = arrays[-1], min(found)
    if size < 65536:
        assert taken == 0
        return
    assert address(array) % 64 == 0
    assert size <= taken <= size * 1.125 + 8192
    array[:] = 1
    assert array[-1] == 1


def assert_sound():
    """Blocks follow each other without a gap, neighbours that are free are joined, and the counters
    agree with them."""
    arena = memory._arena
    sizes, grain, last = arena.read(blocks.SIZES), 0, 0
    total = {0: 0, blocks.IS_HOT: 0, blocks.IS_COLD: 0}
    while grain << blocks.GRAIN_BITS < arena.read(blocks.FRESH):
        entry = ctypes.c_uint32.from_address(sizes + 4 * grain).value
        state, grains = entry & 3, entry >> 2
        assert grains >= 8
        assert state == 0 or state != last
        total[state] += grains << blocks.GRAIN_BITS
        grain, last = grain + grains, state
    assert grain << blocks.GRAIN_BITS == arena.read(blocks.FRESH)
    counted = memory.statistics()
    assert (total[0], total[blocks.IS_HOT]) == (counted.allocated, counted.cached)


@pytest.mark.parametrize("seed", range(3))
def test_arrays_do_not_overlap(seed):
    draw = np.random.default_rng(seed)
    arrays = {}
    for turn in range(400):
        if turn % 150 == 149:
            memory.empty_cache()
        if turn % 20 == 0:
            assert_sound()
        if arrays and draw.random() < 0.5:
            key = list(arrays)[draw.integers(len(arrays))]
            array = arrays.pop(key)
            assert (array == key % 251).all()
        else:
            array = np.empty(int(2 ** draw.uniform(15, 20)), np.uint8)
            array.fill(turn % 251)
            arrays[turn] = array
    for key, array in arrays.items():
        assert (array == key % 251).all()
    del array
    arrays.clear()
    assert_sound()


def test_neighbours_are_joined():
    parts = [np.empty(MIB, np.uint8) for _ in range(8)]
    parts.sort(key=address)
    together = all(address(b) - address(a) == MIB for a, b in pairwise(parts))
    first, misses = address(parts[0]), memory.statistics().misses
    for place in (1, 3, 2, 0, 7, 5, 6, 4):
        parts[place] = None
        assert_sound()
    if together:
        whole = np.empty(8 * MIB, np.uint8)
        assert address(whole) <= first < address(whole) + 8 * MIB
        assert memory.statistics().misses == misses


def test_zeros_are_zeros():
    for size in (MIB, 3 * MIB, 70_000):
        dirty = np.empty(size, np.uint8)
        dirty.fill(7)
        del dirty
        assert not np.zeros(size, np.uint8).any()  # used before, in the cache
        memory.empty_cache()
        assert not np.zeros(size, np.uint8).any()  # used before, given back
    assert not np.zeros(10, np.uint8).any()


def test_resizing_keeps_the_values():
    array = np.arange(30_000, dtype=np.int64)
    for size in (29_000, 31_000, 100_000, 10_000, 1000, 50_000):
        before = array.copy()
        array.resize(size, refcheck=False)
        common = min(size, before.size)
        assert np.array_equal(array[:common], before[:common])
        assert not array[common:].any()
    assert np.array_equal(np.fromiter(range(200_000), np.int64), np.arange(200_000))


def test_sizes_that_cannot_be_had():
    with pytest.raises(MemoryError):
        np.empty(1 << 60, np.uint8)
    with pytest.raises(MemoryError):
        np.zeros(1 << 60, np.uint8)


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def test_empty_cache_gives_memory_back():
    array = np.empty(64 * MIB, np.uint8)
    array.fill(1)
    del array
    full = resident()
    assert memory.empty_cache() >= 64 * MIB
    assert memory.statistics().cached == 0
    assert full - resident() > 48 * MIB
    assert memory.empty_cache() == 0


def test_cuda_empty_cache_empties_the_cache_there_is():
    danlu.zeros(1 << 20)
    assert memory.statistics().cached >= 4 * MIB
    danlu.cuda.empty_cache()
    assert memory.statistics().cached == 0


def test_threads_share_the_cache():
    failures = []

    def work(number):
        draw = np.random.default_rng(number)
        for _ in range(300):
            array = np.empty(int(draw.integers(65536, 300_000)), np.uint8)
            array.fill(number)
            if not (array == number).all():
                failures.append(number)

    before = memory.statistics()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = memory.statistics()
    assert not failures
    assert after.allocated == before.allocated
    assert after.hits > before.hits


def test_the_limit_holds():
    text = """
        import numpy as np
        from danlu.kernels.runtime import memory
        memory.install()
        assert memory.reason() is None
        assert memory.statistics().limit == 10_000_000
        arrays = [np.ones(1 << 20, np.uint8) for _ in range(30)]
        del arrays
        kept = memory.statistics().cached
        assert 8_000_000 < kept <= 10_000_000, kept
        assert not np.zeros(1 << 20, np.uint8).any()
        assert all(not np.zeros(1 << 20, np.uint8).any() for _ in range(30))
    """
    in_a_process(text, DANLU_MEMORY_CACHE=10_000_000)


def test_it_can_be_turned_off():
    text = """
        import numpy as np
        from danlu.kernels.runtime import memory
        memory.install()
        np.empty(1 << 20)
        print(memory.reason(), memory.statistics().misses, memory.empty_cache())
    """
    assert in_a_process(text, DANLU_MEMORY_CACHE=0) == "DANLU_MEMORY_CACHE=0 0 0"


def test_arrays_from_before_and_the_end_of_a_process():
    text = """
        import numpy as np
        before = [np.ones(size, np.uint8) for size in (10, 70_000, 1 << 22)]
        from danlu.kernels.runtime import memory
        memory.install()
        before[0].resize(100_000, refcheck=False)
        before[1].resize(200_000, refcheck=False)
        assert before[1][:70_000].all() and not before[1][70_000:].any()
        del before[2]
        kept = np.ones(1 << 22, np.uint8)
        class Late:
            def __del__(self):
                np.ones(1 << 20)
        late = Late()
    """
    in_a_process(text)


def test_a_fork_goes_on_with_the_cache():
    text = """
        import os, threading
        import numpy as np
        from danlu.kernels.runtime import memory
        memory.install()
        kept = np.full(1 << 20, 3, np.uint8)
        stop = False
        def churn():
            while not stop:
                np.empty(100_000, np.uint8)
        threads = [threading.Thread(target=churn) for _ in range(2)]
        for thread in threads: thread.start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                arrays = [np.full(100_000 + n, n, np.uint8) for n in range(50)]
                good = all((array == n).all() for n, array in enumerate(arrays))
                os._exit(0 if good and (kept == 3).all() else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop = True
        for thread in threads: thread.join()
        assert (kept == 3).all()
    """
    in_a_process(text)


def test_a_narrow_address_space_leaves_numpy_alone():
    text = """
        import resource
        import numpy as np
        from danlu.kernels.runtime import road, memory, pool
        pool.ensure()
        resource.setrlimit(resource.RLIMIT_AS, (1 << 46, resource.RLIM_INFINITY))
        memory.install()
        np.ones(1 << 20)
        print(memory.reason())
    """
    assert "ulimit -v" in in_a_process(text)


def test_a_fork_in_the_middle_of_a_change():
    text = """
        import ctypes, os
        import numpy as np
        from danlu.kernels.runtime import blocks, memory
        memory.install()
        kept = np.full(1 << 20, 3, np.uint8)
        lock = ctypes.c_int32.from_address(memory._arena.address + blocks.LOCK)
        lock.value = 1
        child = os.fork()
        if child == 0:
            new = np.full(1 << 20, 4, np.uint8)
            good = (kept == 3).all() and (new == 4).all()
            kept.resize(1 << 21, refcheck=False)
            del kept, new
            os._exit(0 if good and memory.empty_cache() == 0 else 1)
        lock.value = 0
        assert os.waitpid(child, 0)[1] == 0
    """
    in_a_process(text)
