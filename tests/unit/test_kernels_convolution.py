"""Generated convolutions against their NumPy text."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu
import danlu.nn.functional as F
from danlu.kernels import convolution as kernels
from danlu.kernels.codegen import target as targets
from danlu.kernels.generated import (
    convolution,
    convolution_gather,
    convolution_plan,
    convolution_planes,
    convolution_weight,
)
from danlu.kernels.generated import convolution_depthwise as depthwise
from danlu.kernels.generated.convolution_tiles import tile_shape
from danlu.kernels.runtime import launch, machine, pool, road
from tests.unit.guarded import guarded


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def same(array):
    return array


def all_three(case, road_name, seed=0, change=same, change_data=same):
    """The convolution with a bias, its input's and its weight's gradient on one road."""
    samples, channels, outputs, sizes, kernel, *settings = case
    groups = settings[-1]
    x = change(change_data(draw(samples, channels, *sizes, seed=seed)))
    weight = change(draw(outputs, channels // groups, *kernel, seed=seed + 1))
    positions = kernels.output_sizes(sizes, kernel, *settings[:3])
    grad = change(change_data(draw(samples, outputs, *positions, seed=seed + 2)))
    bias, input_bias = (change(draw(n, seed=seed + 3)) for n in (outputs, channels))
    with road.forced(road_name):
        return (
            kernels.convolve(x, weight, *settings, bias),
            kernels.convolve_input(grad, weight, sizes, *settings, input_bias),
            kernels.convolve_weight(grad, x, kernel, *settings),
        )


def check(case, **options):
    for actual, desired in zip(
        all_three(case, "native", **options), all_three(case, "numpy"), strict=True
    ):
        assert actual.dtype == np.float32
        assert actual.flags.c_contiguous
        np.testing.assert_allclose(
            actual, desired, rtol=1e-5, atol=2e-6 * max(1, np.abs(desired).max())
        )


CASES = {
    # samples, channels, outputs, sizes, kernel, stride, padding, dilation, groups
    "few channels": (3, 1, 32, (28, 28), (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "few channels, padded": (2, 3, 20, (9, 11), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "padded": (5, 17, 19, (8, 7), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "no padding": (4, 32, 33, (13, 13), (5, 5), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "stride 2": (3, 16, 40, (9, 8), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 1),
    "shortcut": (3, 24, 48, (7, 8), (1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    "one tap": (2, 65, 31, (5, 5), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "dilated": (2, 9, 8, (12, 11), (3, 2), (1, 1), ((2, 2), (0, 3)), (2, 3), 1),
    "uneven padding": (2, 10, 12, (6, 6), (2, 4), (1, 3), ((0, 1), (2, 1)), (1, 1), 1),
    "padding beyond the kernel": (2, 8, 8, (4, 4), (2, 2), (1, 1), ((3, 2), (3, 3)), (1, 1), 1),
    "holes in the adjoint": (2, 8, 8, (7, 9), (1, 2), (3, 4), ((0, 0), (0, 0)), (1, 1), 1),
    "groups": (2, 12, 18, (6, 7), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 3),
    "groups of many": (2, 40, 36, (5, 4), (3, 1), (1, 1), ((1, 1), (0, 0)), (1, 1), 2),
    "256 channels": (2, 256, 24, (4, 3), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "depthwise with a multiplier": (2, 5, 10, (6, 6), (3, 3), (1, 1), ((1, 1),) * 2, (1, 1), 5),
    "many small images": (37, 16, 16, (4, 4), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "bands of one image": (1, 64, 24, (40, 44), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "panels of one image": (1, 16, 200, (2, 2), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "one dimension": (3, 12, 20, (50,), (5,), (2,), ((2, 2),), (1,), 1),
    "a long signal": (1, 2, 4, (3000,), (9,), (4,), ((4, 4),), (1,), 1),
    "three dimensions": (2, 9, 10, (5, 6, 4), (3, 2, 3), (1, 2, 1), ((1, 1), (0, 1), (1, 1)),
                         (1, 1, 1), 1),
    "depthwise": (3, 6, 6, (11, 13), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 6),
    "depthwise, stride 2": (3, 6, 6, (11, 30), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 6),
    "depthwise, stride 3": (2, 5, 5, (11, 12), (3, 3), (3, 3), ((1, 1), (1, 1)), (1, 1), 5),
    "depthwise, 5 x 5": (2, 4, 4, (9, 17), (5, 5), (1, 2), ((2, 2), (1, 2)), (1, 1), 4),
    "depthwise, 7 x 7": (2, 3, 3, (14, 14), (7, 7), (1, 1), ((3, 3), (3, 3)), (1, 1), 3),
    "depthwise, dilated": (2, 4, 4, (12, 19), (3, 3), (1, 1), ((2, 2), (0, 1)), (2, 3), 4),
    "depthwise, narrow": (2, 4, 4, (4, 3), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 4),
    "depthwise signal": (2, 4, 4, (40,), (5,), (1,), ((2, 2),), (1,), 4),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_generated_convolutions_are_their_numpy_text(case):
    check(case)


@pytest.mark.parametrize("seed", range(12))
def test_random_shapes(seed):
    rng = np.random.default_rng(100 + seed)

    def some(*choices):
        return tuple(int(rng.choice(choices)) for _ in range(rank))

    rank, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2, 3]))
    kernel, stride, dilation = some(1, 2, 3, 4), some(1, 2, 3), some(1, 2)
    padding = tuple(zip(some(0, 1, 2), some(0, 1, 3), strict=True))
    sizes = tuple(d * (k - 1) + int(rng.integers(1, 12)) for k, d in zip(kernel, dilation))
    channels, outputs = (groups * int(rng.choice([1, 2, 5, 8, 11, 17])) for _ in range(2))
    samples = int(rng.integers(1, 20))
    check((samples, channels, outputs, sizes, kernel, stride, padding, dilation, groups))


@pytest.mark.parametrize("name", ["padded", "few channels", "groups", "stride 2", "depthwise",
                                  "depthwise, stride 2"])  # fmt: skip
def test_other_layouts_of_memory(name):
    check(CASES[name], change=np.asfortranarray)


@pytest.mark.parametrize("end", [True, False], ids=["end", "start"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_nothing_is_touched_beside_the_arrays(case, end, monkeypatch):
    def fenced(shape, dtype=float, order="C"):
        # results, packed weights and scratch memory; what is read before it is written shows
        unset = np.nan if np.dtype(dtype).kind == "f" else 0
        return guarded(np.full(shape, unset, dtype, order), end)

    def change(array):
        return guarded(array, end)

    desired = all_three(case, "numpy")
    monkeypatch.setattr(np, "empty", fenced)
    actual = all_three(case, "native", change=change)
    monkeypatch.undo()
    for one, other in zip(actual, desired, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6 * max(1, np.abs(other).max()))


@pytest.mark.parametrize("name", ["few channels", "no padding", "shortcut", "one tap", "groups",
                                  "depthwise", "depthwise, stride 2", "depthwise, narrow",
                                  "one dimension"])  # fmt: skip
def test_nan_and_infinity_go_where_they_are_read(name):
    *head, padding, dilation, groups = CASES[name]
    case = (*head, ((0, 0),) * len(padding), dilation, groups)

    def spoiled(array):
        array.flat[array.size // 3] = np.nan
        array.flat[-1] = np.inf
        return array

    # not in weights, and no padding: the roads add zeros in different places, and zero times
    # infinity is not zero
    with np.errstate(invalid="ignore"):
        actual, desired = (all_three(case, r, change_data=spoiled) for r in ("native", "numpy"))
    for one, other in zip(actual, desired, strict=True):
        assert not np.isfinite(other).all()
        np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["few channels", "padded", "bands of one image", "groups of many",
                                  "many small images", "depthwise"])  # fmt: skip
def test_the_number_of_threads_changes_no_bit(name):
    threads = pool.ensure()
    before, results = threads.threads, []
    try:
        for count in (1, 2, 3):
            threads.resize(count)
            results.append(all_three(CASES[name], "native"))
    finally:
        threads.resize(before)
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_partial_sums_add_up_to_the_weight_gradient():
    # 16 channels are one panel, so the images are cut into chunks; the last one is not full
    check((37, 16, 20, (6, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1))
    check((530, 3, 16, (4, 4), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1))


def test_gradients_of_the_public_function():
    def gradients():
        x, weight, bias = (danlu.tensor(draw(*s), requires_grad=True)
                           for s in [(4, 6, 9, 9), (8, 6, 3, 3), (8,)])  # fmt: skip
        out = F.conv2d(x, weight, bias, stride=2, padding=1)
        up = F.conv_transpose2d(out, weight, stride=2, padding=1)
        (up * up).sum().backward()
        return [t.detach().numpy() for t in (out, up, x.grad, weight.grad, bias.grad)]

    with road.forced("native"):
        actual = gradients()
    with road.forced("numpy"):
        desired = gradients()
    for one, other in zip(actual, desired, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


def test_what_generated_code_does_not_do_stays_with_numpy():
    case = (2, 8, 8, (6, 6), (3, 3))
    settings = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    x, weight = draw(2, 8, 6, 6), draw(8, 8, 3, 3)
    with road.forced("native"):
        assert kernels.convolve(x.astype("f8"), weight.astype("f8"), *settings).dtype == "f8"
        assert kernels.convolve(x.astype("f2"), weight.astype("f2"), *settings).dtype == "f2"
        assert kernels.convolve(x[:0], weight, *settings).shape == (0, 8, 6, 6)
        grad = np.zeros((0, 8, 6, 6), np.float32)
        assert not kernels.convolve_weight(grad, x[:0], (3, 3), *settings).any()
        assert kernels._native(x.shape, weight.shape, (6, 6), (x, weight)) is not None
        big = (1, 8, 1 << 14, 1 << 14)
        assert kernels._native(big, weight.shape, big[2:], (x, weight)) is None
    with road.forced("auto"):
        assert kernels._native((1, 1, 4, 4), (1, 1, 3, 3), (2, 2), (x, weight)) is None
        assert kernels._native(x.shape, weight.shape, case[3], (x, weight)) is not None


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("adjoint", [False, True])
def test_a_plan_reads_every_tap_inside_the_source_once(rank, adjoint):
    settings = convolution_plan.Settings(
        (7, 6)[:rank], (4, 3)[:rank], (3, 2)[:rank], (2, 2)[:rank], (1, 0)[:rank], (1, 2)[:rank]
    )
    if adjoint:
        settings = settings._replace(
            sizes=settings.positions, positions=settings.sizes, adjoint=True
        )
    tables = convolution_plan.gather(settings, 5, 8, 1, 1, False, 6, 16)
    multiplications, places = 0, []
    for task in tables.tasks:
        for rows, first, count, step, steps in tables.sections[task[6] : task[6] + task[7]]:
            runs = tables.steps[step : step + steps]
            multiplications += rows * count * sum(length for *_, length in runs)
            for tile in tables.tiles[first : first + count]:
                places += [(task[0], task[2], place) for place in tile[6 : 6 + rows]]
    valid = np.prod([reads.valid.sum() for reads in convolution_plan.reads(settings)])
    assert multiplications == 5 * 8 * valid
    assert len(set(places)) == len(places) == 5 * np.prod(settings.positions)


@pytest.mark.parametrize(
    ("triple", "cpu"),
    [
        ("x86_64-unknown-linux-gnu", "skylake-avx512"),
        ("x86_64-unknown-linux-gnu", "x86-64"),
        ("aarch64-unknown-linux-gnu", "neoverse-n1"),
    ],
)
def test_kernels_compile_for_other_machines(triple, cpu):
    target = targets.named(triple, cpu)
    tile = tile_shape(target, 64)
    for text in (
        convolution_gather.pack_text(target, tile),
        convolution_gather.gather_text(target, tile, False),
        convolution_gather.gather_text(target, tile_shape(target, 3), True),
        convolution_weight.reduce_text(target, tile),
        convolution_weight.finish_text(target, tile),
        depthwise.convolve_text(target, (3, 3), (1, 1), 2, 1, False, False),
        depthwise.convolve_text(target, (3, 3), (1, 1), 1, 2, True, True),
        depthwise.weight_text(target, (3, 3), (1, 1), 2),
    ):
        assert len(machine.emit_object(text, target)) > 1000


@pytest.mark.parametrize(("vector_bytes", "registers"), [(16, 16), (16, 32), (64, 32)])
def test_kernels_of_other_vector_sizes_are_right(vector_bytes, registers, monkeypatch):
    # LLVM splits or shrinks vectors that this processor has not, so all of them run here
    other = targets.host()._replace(vector_bytes=vector_bytes, registers=registers)
    prepared = (convolution._prepared_gather, convolution._prepared_weight,
                convolution_planes._prepared, convolution_planes._prepared_weight)  # fmt: skip
    monkeypatch.setattr(targets, "host", lambda: other)
    monkeypatch.setattr(launch, "_kernels", {})
    try:
        for cached in prepared:
            cached.cache_clear()
        for name in ("few channels, padded", "padded", "no padding", "stride 2", "groups",
                     "many small images", "depthwise", "depthwise, stride 2"):  # fmt: skip
            check(CASES[name])
    finally:
        for cached in prepared:
            cached.cache_clear()
