"""Matrix products by kernels, generated and BLAS's, against NumPy's in double precision."""

import ctypes
import multiprocessing
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu as torch
import danlu.nn.functional as F
from danlu.backend import threads
from danlu.kernels import matmul as kernels
from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen.types import DOUBLE, FLOAT, I32, I64
from danlu.kernels.generated import matmul as writer
from danlu.kernels.generated import matmul_blas as blas_writer
from danlu.kernels.generated import matmul_packing, matmul_panels
from danlu.kernels.generated import matmul_vector as vector_writer
from danlu.kernels.generated.matmul_plan import blas_cut, plan
from danlu.kernels.runtime import blas, machine, pool, road
from tests.unit.guarded import guarded

TOLERANCE = {"float32": 3e-6, "float64": 1e-14}
OTHER_MACHINES = [
    ("x86_64-unknown-linux-gnu", "skylake-avx512"),
    ("aarch64-unknown-linux-gnu", "neoverse-n1"),
    ("x86_64-unknown-linux-gnu", "x86-64"),
]


@pytest.fixture(autouse=True)
def _native():
    with road.forced("native"):
        yield


@pytest.fixture(params=["blas", "blocks"])
def way(request, monkeypatch):
    """All products by BLAS that it takes, or none."""
    kernels._way.cache_clear()
    if request.param == "blas":
        if kernels._blas_kernel(4) is None:
            pytest.skip("NumPy's BLAS is not one that kernels call")
        for limit in ("_DEEP", "_LARGE", "_LARGE_TURNED"):
            monkeypatch.setattr(kernels, limit, 1)
    else:
        monkeypatch.setattr(kernels, "_blas_kernel", lambda size: None)
    yield request.param
    kernels._way.cache_clear()


def kernel_of(a, b):
    """The kernel that multiplies these matrices."""
    return kernels._way(a.shape, a.strides, b.shape, b.strides, a.itemsize).kernel


def laid_out(array, layout):
    """The same matrix in C order, transposed, with gaps in both directions, or backwards."""
    if layout == "transposed":
        return np.ascontiguousarray(array.T).T
    if layout == "gaps":
        wide = np.repeat(np.repeat(array, 2, -1), 3, -2)
        return wide[..., ::3, ::2]
    if layout == "backwards":
        return np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]
    return array


def check(made, a, b, bias=None, relu=False):
    expected = np.matmul(a.astype(np.float64), b.astype(np.float64))
    if bias is not None:
        expected = expected + bias
    if relu:
        expected = np.maximum(expected, 0)
    assert made.dtype == a.dtype
    assert made.shape == expected.shape
    error = np.abs(made - expected).max() / (1 + np.abs(expected).max())
    assert error < TOLERANCE[a.dtype.name]


def random(generator, shape, dtype):
    return generator.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(40))
def test_products_of_all_layouts(seed, dtype, way):
    generator = np.random.default_rng(seed)
    rows, depth, columns = (int(size) for size in np.exp(generator.uniform(0, 5, 3)))
    layouts = ["plain", "transposed", "gaps", "backwards"]
    a = laid_out(random(generator, (rows, depth), dtype), layouts[seed % 4])
    b = laid_out(random(generator, (depth, columns), dtype), layouts[seed // 4 % 4])
    bias = random(generator, columns, dtype) if seed % 3 else None
    relu = bool(seed % 2)
    made = kernels.matmul(a, b, bias, "relu" if relu else None)
    check(made, a, b, bias, relu)


@pytest.mark.parametrize(
    "shape",
    [
        (7, 1300, 33),  # several slices of the depth
        (65, 5000, 17),  # parts of the depth that are added up
        (13, 600, 530),  # rows of A packed
        (200, 9, 1000),
        (1, 700, 300),
        (300, 700, 1),
        (3, 20000, 1),
        (1, 20000, 10),
    ],
)
@pytest.mark.parametrize("left", ["plain", "transposed"])
@pytest.mark.parametrize("right", ["plain", "transposed"])
def test_large_products(shape, left, right, way):
    generator = np.random.default_rng(0)
    rows, depth, columns = shape
    a = laid_out(random(generator, (rows, depth), "float32"), left)
    b = laid_out(random(generator, (depth, columns), "float32"), right)
    bias = random(generator, columns, "float32")
    check(kernels.matmul(a, b, bias, "relu"), a, b, bias, True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 6, 7, 20])
def test_rows_that_are_packed_in_squares(rows, dtype, way):
    generator = np.random.default_rng(7)
    a, b = random(generator, (rows, 517), dtype), random(generator, (517, 530), dtype)
    check(kernels.matmul(a, b), a, b)


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((4, 9, 5), (4, 5, 7)),
        ((2, 3, 9, 5), (2, 3, 5, 7)),
        ((2, 3, 9, 5), (3, 5, 7)),
        ((2, 1, 9, 5), (1, 3, 5, 20)),
        ((6, 9, 5), (5, 7)),
        ((9, 5), (4, 5, 7)),
        ((2, 2, 2, 2, 3, 4), (2, 2, 2, 2, 4, 5)),
        ((40, 33, 20), (40, 20, 33)),
    ],
)
def test_batches(a_shape, b_shape, way):
    generator = np.random.default_rng(1)
    a, b = random(generator, a_shape, "float32"), random(generator, b_shape, "float32")
    check(kernels.matmul(a, b), a, b)
    swapped = np.ascontiguousarray(a.swapaxes(0, -2)).swapaxes(0, -2)
    check(kernels.matmul(swapped, b), a, b)


def test_batches_that_cannot_be_merged_go_to_numpy():
    generator = np.random.default_rng(1)
    a = random(generator, (2, 3, 4, 5, 6), "float32").transpose(1, 2, 0, 3, 4)
    b = random(generator, (3, 4, 1, 6, 5), "float32")
    check(kernels.matmul(a[:, ::2], b[:, ::2]), a[:, ::2], b[:, ::2])


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize(
    "shape", [(7, 5, 3), (6, 8, 16), (13, 300, 17), (25, 31, 37), (1, 37, 29), (29, 37, 1)]
)
def test_memory_beside_the_arrays_is_not_touched(shape, end, way):
    generator = np.random.default_rng(2)
    rows, depth, columns = shape
    a = guarded(random(generator, (rows, depth), "float32"), end)
    b = guarded(random(generator, (depth, columns), "float32"), end)
    bias = guarded(random(generator, columns, "float32"), end)
    out = guarded(np.zeros((rows, columns), np.float32), end)
    assert kernels.matmul(a, b, bias, None, out) is out
    check(out, a, b, bias)
    a_turned = guarded(np.ascontiguousarray(a.T), end).T
    b_turned = guarded(np.ascontiguousarray(b.T), end).T
    for left, right in ((a_turned, b), (a, b_turned), (a_turned, b_turned)):
        check(kernels.matmul(left, right, None, None, out), a, b)


@pytest.mark.parametrize(
    "shape", [(130, 700, 90), (64, 5000, 40), (1, 9000, 30), (700, 900, 1), (410, 512, 300)]
)
def test_thread_counts_give_the_same_bits(shape, way):
    generator = np.random.default_rng(3)
    rows, depth, columns = shape
    a = random(generator, (rows, depth), "float32")
    b = random(generator, (depth, columns), "float32")
    bias = random(generator, columns, "float32")
    for left in (a, laid_out(a, "transposed")):
        made = []
        for count in (1, 2, 2):
            pool.ensure().resize(count)
            made.append(kernels.matmul(left, b, bias, "relu").tobytes())
        assert made[0] == made[1] == made[2]


def test_nan_and_infinity_spread_to_their_rows_and_columns_alone(way):
    generator = np.random.default_rng(4)
    a, b = random(generator, (20, 30), "float32"), random(generator, (30, 21), "float32")
    a[3, 4], b[5, 6] = np.nan, np.inf
    made = kernels.matmul(a, b)
    expected = a.dot(b)
    assert np.array_equal(np.isnan(made), np.isnan(expected))
    assert np.array_equal(np.isinf(made), np.isinf(expected))
    relu = kernels.matmul(a, b, activation="relu")
    assert np.isnan(relu[3]).all()
    assert (np.nan_to_num(relu) >= 0).all()


def test_a_bias_and_an_out_that_are_not_contiguous():
    a, b = np.ones((5, 4), np.float32), np.ones((4, 6), np.float32)
    out = np.zeros((6, 5), np.float32).T
    assert kernels.matmul(a, b, None, None, out) is out
    assert (out == 4).all()
    bias = np.arange(12, dtype=np.float32)[::2]
    assert np.array_equal(kernels.matmul(a, b, bias)[0], 4 + bias)


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError):
        kernels.matmul(np.ones((3, 4)), np.ones((5, 6)))
    assert kernels.matmul(np.ones((3, 0)), np.ones((0, 2))).tolist() == [[0.0, 0.0]] * 3
    assert kernels.matmul(np.ones((0, 3)), np.ones((3, 2))).shape == (0, 2)


@pytest.mark.parametrize("machine_name", OTHER_MACHINES)
@pytest.mark.parametrize("type", [FLOAT, DOUBLE])
def test_code_for_other_machines(machine_name, type):
    target = targets.named(*machine_name)
    texts = (writer, matmul_panels, matmul_packing)
    for write in (
        *(each.write for each in texts),
        vector_writer.write_dots,
        vector_writer.write_sums,
    ):
        assert len(machine.emit_object(write(type, target), target)) > 500
    for integer in (I32, I64):
        text = blas_writer.write(type, integer, target)
        assert len(machine.emit_object(text, target)) > 500


def test_cuts_cover_the_product_once():
    generator = np.random.default_rng(5)
    for _ in range(60):
        rows, depth, columns = (int(size) for size in np.exp(generator.uniform(0, 8, 3)))
        batch = int(generator.integers(1, 5))
        cut, slice, _ = plan(
            6, 16, 4, rows, depth, columns, batch, bool(depth % 2), 256, bool(rows % 2)
        )
        assert cut.block_rows % 6 == 0 == cut.block_columns % 16
        assert slice <= 256
        for made in (cut, blas_cut(rows, depth, columns, batch)):
            assert made.row_blocks == -(-rows // made.block_rows)
            assert made.column_blocks == -(-columns // made.block_columns)
            assert made.parts == -(-depth // made.part)
            assert made.blocks == made.row_blocks * made.column_blocks * made.parts * batch
            assert (made.tasks - 1) * made.together < made.blocks <= made.tasks * made.together


def test_large_products_go_to_blas_where_there_is_one():
    found = kernels._blas_kernel(4)
    if found is None:
        pytest.skip("NumPy's BLAS is not one that kernels call")
    kernels._way.cache_clear()
    square = np.empty((1024, 1024), np.float32)
    assert kernel_of(square, square) is found
    assert kernel_of(square[:256, :256].T, square[:256, :256]) is found  # 256 columns of a wide one
    assert kernel_of(square[:256, :256], square[:256, :256]) is not found
    assert kernel_of(square[:, :16], square[:16]) is not found
    assert kernel_of(square[::-1], square) is not found
    assert kernel_of(np.broadcast_to(square[:1], square.shape), square) is not found


@pytest.fixture
def _no_blas(monkeypatch):
    caches = blas.integers, kernels._blas_kernel, kernels._way
    monkeypatch.setattr(threads, "_blas", SimpleNamespace(products={}, description=None))
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("_no_blas")
def test_products_without_a_blas_that_is_known():
    assert kernels._blas_kernel(4) is None
    a, b = np.ones((900, 640), np.float32), np.ones((640, 500), np.float32)
    assert (kernels.matmul(a, b) == 640).all()


def multiply_in_child(a, b, expected):
    raise SystemExit(0 if kernels.matmul(a, b).tobytes() == expected else 1)


def test_a_forked_process_multiplies_as_its_parent_does(way):
    generator = np.random.default_rng(6)
    a, b = random(generator, (300, 200), "float32"), random(generator, (200, 310), "float32")
    pool.ensure().resize(2)
    expected = kernels.matmul(a, b).tobytes()
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=multiply_in_child, args=(a, b, expected))
    child.start()
    child.join(20)
    assert child.exitcode == 0


def test_the_length_of_a_librarys_integers(monkeypatch):
    function = ctypes.CFUNCTYPE(None)(lambda: None)
    for description, size in (("OpenBLAS 0.3 USE64BITINT", 8), ("OpenBLAS 0.3 Zen", 4)):
        library = SimpleNamespace(products={"s": function}, description=description)
        monkeypatch.setattr(threads, "_blas", library)
        assert threads.blas_product("s")[1] == size
        assert threads.blas_product("d") is None


@pytest.mark.parametrize("leading", [(150,), (10, 15), (2, 5, 15)])
def test_linear_and_its_gradients(leading):
    torch.manual_seed(0)
    x = torch.randn(*leading, 96, requires_grad=True)
    layer = torch.nn.Linear(96, 80)
    weight = torch.randn(*leading, 80)
    results = []
    for name in ("numpy", "native"):
        with road.forced(name):
            out = layer(x)
            found = torch.autograd.grad((out * weight).sum(), (x, layer.weight, layer.bias))
            results.append((out, *found))
    for one, other in zip(*results, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_matmul_and_its_gradients():
    torch.manual_seed(0)
    a = torch.randn(6, 60, 70, requires_grad=True)
    b = torch.randn(6, 70, 50, requires_grad=True)
    results = []
    for name in ("numpy", "native"):
        with road.forced(name):
            out = a @ b
            results.append((out, *torch.autograd.grad((out * out).sum(), (a, b))))
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-2)


def test_linear_refuses_in_the_same_words_at_any_size():
    with pytest.raises(RuntimeError, match=r"\(2000x1000 and 999x1000\)"):
        F.linear(torch.ones(2000, 1000), torch.ones(1000, 999))
    with pytest.raises(RuntimeError, match="same dtype"):
        F.linear(torch.ones(2000, 1000), torch.ones(1000, 1000), torch.ones(1000).double())


def test_blas_keeps_one_thread_beside_the_pool():
    kernels.matmul(np.ones((3, 4)), np.ones((4, 5)))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert threads.blas_info()["threads"] in (1, None)
        kernels.matmul(np.ones((3, 4)), np.ones((4, 5)))
        assert pool.thread_count() == 2
    finally:
        torch.set_num_threads(before)
