"""The builder of LLVM text: arithmetic, loops, branches, memory, and what it refuses."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.types import (
    BFLOAT,
    DOUBLE,
    FLOAT,
    HALF,
    I1,
    I8,
    I32,
    I64,
    PTR,
    Type,
    constant,
    of_dtype,
)  # fmt: skip
from danlu.kernels.runtime import launch, machine, pool

TASK = [("arguments", PTR), ("index", I64), ("thread", I64)]


def run(name, write, count, *arguments):
    """Compile a task written by `write(f, arguments, index)` and run it."""

    def text():
        f = Function("task", TASK)
        write(f, f.parameters[0], f.parameters[1])
        f.ret()
        return Module(f).text()

    code = machine.compile_text(text(), ("task",))
    launch.Kernel(name, code, "task").call(count, *arguments)


class TestTypes:
    def test_spelling(self):
        assert str(FLOAT.vector(8)) == "<8 x float>"
        assert FLOAT.vector(8).element() == FLOAT
        assert FLOAT.vector(4).like(I32) == Type("i32", 4)
        assert (DOUBLE.suffix, FLOAT.vector(16).suffix, I64.suffix) == ("f64", "v16f32", "i64")
        assert [t.bytes for t in (I8, HALF, BFLOAT, FLOAT, DOUBLE, PTR)] == [1, 2, 2, 4, 8, 8]

    @pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "uint64", "float32"])
    def test_dtypes_keep_their_size(self, dtype):
        assert of_dtype(np.dtype(dtype)).bytes == np.dtype(dtype).itemsize

    def test_complex_has_no_type(self):
        with pytest.raises(KeyError):
            of_dtype(np.dtype("complex64"))

    @pytest.mark.parametrize(
        ("value", "type", "text"),
        [
            (1.0, FLOAT, "0x3FF0000000000000"),
            (0.1, FLOAT, "0x3FB99999A0000000"),  # of the float nearest to 0.1
            (0.1, DOUBLE, "0x3FB999999999999A"),
            (1e60, FLOAT, "0x7FF0000000000000"),
            (float("-inf"), DOUBLE, "0xFFF0000000000000"),
            (1.5, HALF, "0xH3E00"),
            (1.0, BFLOAT, "0xR3F80"),
            (-1, I64, "-1"),
            (2**32 - 1, I32, "-1"),
            (True, I1, "true"),
            (0, PTR, "null"),
            (3, I32.vector(4), "splat (i32 3)"),
        ],
    )
    def test_constants(self, value, type, text):
        assert constant(value, type) == text

    def test_only_null_is_a_constant_pointer(self):
        with pytest.raises(ValueError, match="null"):
            constant(8, PTR)


class TestArithmetic:
    def test_ints_fold_before_they_are_written(self):
        f = Function("task", TASK)
        index = f.parameters[1]
        assert index + 0 is index
        assert index * 1 is index
        assert f.minimum(3, 4) == 3
        index * 8
        assert "shl i64 %index, 3" in f.text()

    def test_types_must_agree(self):
        f = Function("task", TASK)
        with pytest.raises(TypeError, match="the types differ"):
            f.parameters[1] + f.parameters[0]

    def test_float_operators_are_numpys(self):
        rng = np.random.default_rng(0)
        x, y = (rng.standard_normal(8).astype(np.float32) for _ in range(2))
        out = np.empty((4, 8), np.float32)
        V = FLOAT.vector(8)

        def write(f, arguments, index):
            a, b = (f.load(f.slot(arguments, k), V) for k in range(2))
            for row, value in enumerate((a + b, a - 2.0, 3 * a / b, -a)):
                f.store(value, f.slot(arguments, 2), 8 * row)

        run("operators", write, 1, x, y, out)
        three = np.float32(3) * x / y
        np.testing.assert_array_equal(out, np.stack([x + y, x - np.float32(2), three, -x]))

    def test_conversions(self):
        numbers = np.array([-2.75, 0.0, 3.5, 100.25], np.float32)
        ints, halves, back = np.empty(4, np.int64), np.empty(4, np.float16), np.empty(4)
        V = FLOAT.vector(4)

        def write(f, arguments, index):
            x = f.load(f.slot(arguments, 0), V)
            f.store(f.convert(x, I64), f.slot(arguments, 1))
            half = f.convert(x, HALF)
            f.store(half, f.slot(arguments, 2))
            f.store(f.convert(half, DOUBLE), f.slot(arguments, 3))

        run("conversions", write, 1, numbers, ints, halves, back)
        np.testing.assert_array_equal(ints, numbers.astype(np.int64))
        np.testing.assert_array_equal(halves, numbers.astype(np.float16))
        np.testing.assert_array_equal(back, numbers)

    def test_shuffles_and_folds(self):
        x = np.arange(8, dtype=np.float32) + 1
        out = np.empty(12, np.float32)

        def write(f, arguments, index):
            v = f.load(f.slot(arguments, 0), FLOAT.vector(8))
            f.store(f.shuffle(v, None, range(7, -1, -1)), f.slot(arguments, 1))
            f.store(f.fold_lanes(v, lambda a, b: a + b), f.slot(arguments, 1), 8)
            f.store(f.extract(v, 2), f.slot(arguments, 1), 9)
            f.store(f.extract(f.insert(v, f.value(9.0, FLOAT), 5), 5), f.slot(arguments, 1), 10)
            f.store(f.extract(f.broadcast(f.extract(v, 1), 4), 3), f.slot(arguments, 1), 11)

        run("shuffles", write, 1, x, out)
        np.testing.assert_array_equal(out, [8, 7, 6, 5, 4, 3, 2, 1, 36, 3, 9, 2])


class TestControl:
    @pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
    def test_loop_carries_values(self, count):
        out = np.zeros(2, np.int64)

        def write(f, arguments, index):
            stop = f.slot(arguments, 1, I64)
            start = [f.value(0, I64), f.value(1, I64)]
            with f.loop(0, stop, 3, carried=start) as loop:
                total, turns = loop.values
                loop.carry(total + loop.index, turns + 1)
            for place, value in enumerate(loop.results):
                f.store(value, f.slot(arguments, 0), place)

        run("loop", write, 1, out, count)
        indices = range(0, count, 3)
        assert out.tolist() == [sum(indices), 1 + len(indices)]

    def test_nested_loops_with_known_bounds(self):
        out = np.zeros((3, 4), np.int64)

        def write(f, arguments, index):
            with f.loop(0, 3) as row, f.loop(0, 4) as column:
                f.store(row.index * 10 + column.index, f.slot(arguments, 0),
                        row.index * 4 + column.index)  # fmt: skip

        run("nested", write, 1, out)
        np.testing.assert_array_equal(out, np.arange(3)[:, None] * 10 + np.arange(4))

    @pytest.mark.parametrize("given", [-3, 0, 5])
    def test_branches(self, given):
        out = np.zeros(2, np.int64)

        def write(f, arguments, index):
            x = f.slot(arguments, 1, I64)
            positive = f.compare("sgt", x, 0)
            with f.when(positive):
                f.store(f.value(7, I64), f.slot(arguments, 0))
            (value,) = f.either(positive, lambda: [x * 2], lambda: [f.value(-1, I64)])
            f.store(value, f.slot(arguments, 0), 1)

        run("branches", write, 1, out, given)
        assert out.tolist() == ([7, 2 * given] if given > 0 else [0, -1])

    def test_wrong_carry_is_refused(self):
        f = Function("task", TASK)
        with (
            pytest.raises(ValueError, match="1 values are carried, 2 given"),
            f.loop(0, 4, carried=[f.value(0, I64)]) as loop,
        ):
            loop.carry(loop.index, loop.index)

    def test_every_index_is_run_once(self):
        out = np.zeros(1000, np.int64)

        def write(f, arguments, index):
            address = f.slot(arguments, 0)
            f.store(f.load(address, I64, index) + index + 1, address, index)

        run("indices", write, 1000, out)
        np.testing.assert_array_equal(out, np.arange(1, 1001))


class TestMemory:
    @pytest.mark.parametrize("count", [-1, 0, 1, 3, 8, 9])
    @pytest.mark.parametrize("known", [True, False])
    def test_masks(self, count, known):
        x, out = np.arange(1, 9, dtype=np.float32), np.full(8, -1, np.float32)
        V = FLOAT.vector(8)

        def write(f, arguments, index):
            mask = f.mask_below(count if known else f.slot(arguments, 2, I64), 8)
            value = f.masked_load(f.slot(arguments, 0), mask, V, 0.5)
            f.masked_store(value, f.slot(arguments, 1), mask)

        run("masks", write, 1, x, out, count)
        kept = min(max(count, 0), 8)
        np.testing.assert_array_equal(out, [*x[:kept], *[-1] * (8 - kept)])

    def test_tables_and_stack(self):
        out = np.zeros(4, np.float32)

        def text():
            f = Function("task", TASK)
            module = Module(f)
            numbers = Value(f, module.table("numbers", [1, 2, 3, 4], FLOAT), PTR)
            room = f.stack(FLOAT, 4)
            f.store(f.load(numbers, FLOAT.vector(4)) * 0.5, room)
            f.store(f.load(room, FLOAT.vector(4)), f.slot(f.parameters[0], 0), streaming=False)
            f.ret()
            return module.text()

        code = machine.compile_text(text(), ("task",))
        launch.Kernel("table", code, "task").call(1, out)
        assert out.tolist() == [0.5, 1, 1.5, 2]

    def test_arguments(self):
        out = np.zeros(4)

        def write(f, arguments, index):
            address = f.slot(arguments, 0)
            f.store(f.convert(f.slot(arguments, 1, I64), DOUBLE), address)
            f.store(f.slot(arguments, 2, DOUBLE), address, 1)
            f.store(f.convert(f.slot(arguments, 3, FLOAT), DOUBLE), address, 2)
            null = f.emit(f"ptrtoint ptr {f.slot(arguments, 4)} to i64", I64)
            f.store(f.convert(null, DOUBLE), address, 3)

        run("arguments", write, 1, out, -(2**40), 0.1, 0.1, None)
        assert out.tolist() == [-(2.0**40), 0.1, float(np.float32(0.1)), 0]

    def test_what_is_no_argument(self):
        def write(f, arguments, index):
            pass

        with pytest.raises(TypeError, match="takes a count and ndarrays"):
            run("nothing", write, 1, "text")


class TestTarget:
    @pytest.mark.parametrize(
        ("triple", "cpu", "lanes", "block"),
        [
            ("x86_64-unknown-linux-gnu", "skylake-avx512", 16, (14, 2)),
            ("x86_64-unknown-linux-gnu", "haswell", 8, (6, 2)),
            ("x86_64-unknown-linux-gnu", "x86-64", 4, (6, 2)),
            ("aarch64-unknown-linux-gnu", "neoverse-n1", 4, (6, 2)),
        ],
    )
    def test_other_machines(self, triple, cpu, lanes, block):
        target = targets.named(triple, cpu)
        assert (target.float_lanes, target.block) == (lanes, block)
        f = Function("task", TASK)
        address = f.slot(f.parameters[0], 0)
        f.store(f.fma(f.load(address, FLOAT.vector(lanes)), 2.0, 1.0), address)
        f.ret()
        image = machine.emit_object(Module(f).text(), target)
        assert image.startswith(b"\x7fELF")

    def test_wrong_text_is_an_error(self):
        with pytest.raises(RuntimeError):
            machine.emit_object("define void @task() { ret i32 0 }", targets.host())


def test_pool_sizes():
    before = pool.thread_count()
    try:
        for count in (1, 3, 2):
            pool.ensure().resize(count)
            assert pool.thread_count() == count
    finally:
        pool.ensure().resize(before)
