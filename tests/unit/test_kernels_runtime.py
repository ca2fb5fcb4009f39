"""The pool of threads, calls of kernels, and the road that functions take."""

import json
import os
import random
import re
import signal
import threading
import time

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu
from danlu.kernels.runtime import launch, pool, road
from danlu.utils.data import DataLoader, Dataset
from tests.unit.kernel_texts import ARGUMENTS, COUNT, NESTED, ROOT, SLEEP, in_a_process


@pytest.fixture(autouse=True)
def threads():
    if road.reason() is not None:
        pytest.skip(road.reason())
    before = pool.thread_count()
    yield
    pool.ensure().resize(before)


def count_kernel():
    return launch.kernel(("test_count",), lambda: COUNT)


def run_once(call, count):
    """Run `count` tasks; whether each ran once."""
    cells = np.zeros(8192, np.int32)
    call(count, cells)
    done = cells[:4096]
    return (done[:count] == 1).all() and not done[count:].any() and cells.max() < pool.MAX_THREADS


# ---------------------------------------------------------------- the pool
@pytest.mark.parametrize("threads", [1, 2, 3, 8, pool.MAX_THREADS])
def test_every_task_runs_once(threads):
    pool.ensure().resize(threads)
    assert pool.thread_count() == threads
    call, draw = count_kernel().call, random.Random(0)
    stop = time.monotonic() + 0.3
    while time.monotonic() < stop:
        assert run_once(call, draw.choice((0, 1, 2, 3, 7, 64, 1000, 4096)))
        if draw.random() < 0.01:
            time.sleep(0.001)  # the workers fall asleep


def test_minus_one_is_a_single_task():
    cells = np.zeros(8192, np.int32)
    count_kernel().call(-1, cells)
    assert cells[0] == 1 and not cells[1:].any()


def test_several_threads_of_python_at_once():
    pool.ensure().resize(2)
    call, failures = count_kernel().call, []

    def work():
        failures.extend(n for n in range(300) if not run_once(call, 100))

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for size in (1, 3, 2, 1, 2):
        pool.ensure().resize(size)  # waits for its turn
    for caller in callers:
        caller.join()
    assert not failures


@pytest.mark.parametrize("outer", [1, 5])
def test_a_task_may_start_tasks(outer):
    pool.ensure().resize(2)
    kernel = launch.kernel(("test_nested",), lambda: NESTED)
    for inner in (1, 50, 1000):
        cells = np.zeros(1000, np.int32)
        kernel.call(outer, cells, inner)
        assert (cells[:inner] == outer).all() and not cells[inner:].any()


def test_workers_that_end_before_they_began():
    for _ in range(100):
        pool.ensure().resize(4)
        pool.ensure().resize(1)
    assert run_once(count_kernel().call, 100)


def test_the_pool_follows_set_num_threads():
    before = danlu.get_num_threads()
    try:
        for number in (3, 1, 2):
            danlu.set_num_threads(number)
            count_kernel()
            assert pool.POOL.threads == number
    finally:
        danlu.set_num_threads(before)
    assert pool.thread_count() == before
    pool.ensure().resize(5)
    count_kernel()
    assert pool.POOL.threads == 5  # until the next set_num_threads


@pytest.mark.parametrize(
    ("asked", "threads"), [("1", "1"), ("3,2", "3"), ("1000", str(pool.MAX_THREADS))]
)
def test_omp_num_threads(asked, threads):
    text = "from danlu.kernels.runtime import pool; print(pool.thread_count())"
    assert in_a_process(text, OMP_NUM_THREADS=asked) == threads


def test_a_fork_works_alone():
    call = count_kernel().call
    pool.ensure().resize(2)
    for _ in range(5):
        assert run_once(call, 50)
        child = os.fork()
        if child == 0:
            good = pool.thread_count() == 1 and run_once(call, 50)
            pool.ensure().resize(2)
            os._exit(0 if good and run_once(call, 50) else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert pool.thread_count() == 2


class Threads(Dataset):
    """Samples that are the number of threads of the process that loads them."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return pool.thread_count()


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_workers_of_a_data_loader_have_one_thread(how):
    pool.ensure().resize(2)
    loader = DataLoader(Threads(), batch_size=2, num_workers=1, multiprocessing_context=how)
    assert [batch.tolist() for batch in loader] == [[1, 1], [1, 1]]


def test_a_process_ends_with_live_workers():
    text = """
        import numpy as np
        from kernel_texts import COUNT
        from danlu.kernels.runtime import launch, pool
        pool.ensure().resize(4)
        call = launch.kernel(("test_count",), lambda: COUNT).call
        class Late:
            def __del__(self):
                call(100, cells)
        cells, late = np.zeros(8192, np.int32), Late()
        call(100, cells)
    """
    for _ in range(3):
        in_a_process(text)


def repeat(call, *arguments):
    for _ in range(100):
        call(*arguments)


def test_ctrl_c_during_a_kernel():
    sleep = launch.kernel(("test_sleep",), lambda: SLEEP).call
    pool.ensure().resize(2)
    for count in (8, 1, -1):
        timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            repeat(sleep, count, 20_000)
        timer.join()
        assert run_once(count_kernel().call, 200)


def test_other_threads_run_during_a_kernel():
    sleep = launch.kernel(("test_sleep",), lambda: SLEEP).call
    for count in (2, -1):
        turns, done = 0, threading.Event()
        caller = threading.Thread(target=lambda c=count, d=done: (sleep(c, 50_000), d.set()))
        caller.start()
        while not done.is_set():
            turns += 1
        caller.join()
        assert turns > 100


# ---------------------------------------------------------------- calls
@pytest.mark.parametrize("direct", [True, False])
def test_arguments(direct):
    kernel = launch.kernel(("test_arguments",), lambda: ARGUMENTS)
    if direct and not launch.direct_calls():
        pytest.skip("objects lie in memory in another way here")
    make = launch._builtin if direct else launch._through_ctypes
    call, kept = make("test_arguments", kernel.code.addresses["task"])
    assert kept is not None
    out = np.empty(4, np.int64)
    for whole, real in ((5, 0.1), (-1, -0.0), (2**63 - 1, float("inf")), (-(2**63), 1e-310)):
        assert call(1, out, np.array([42, 7]), whole, real, None) is None
        assert out[0] == 42 and out[1] == whole and out[3] == 0
        assert out.view(np.float64)[2] == real
    view = np.arange(10)[3:]
    call(1, out, view, 0, 0.0, None)
    assert out[0] == 3
    for wrong in ("text", [1], np.float32(1), np.int64(1), True, danlu.ones(1)):
        with pytest.raises(TypeError, match="a kernel takes"):
            call(1, out, wrong)
    with pytest.raises(TypeError):
        call(*[1] * 300)
    with pytest.raises(TypeError):
        call("1", out)


def test_calls_through_ctypes_give_the_same():
    text = """
        import numpy as np
        from kernel_texts import COUNT
        from danlu.kernels.runtime import launch, pool
        launch._direct = False
        kernel = launch.kernel(("test_count",), lambda: COUNT)
        assert type(kernel.call).__name__ == "function"
        pool.ensure().resize(2)
        cells = np.zeros(8192, np.int32)
        for count in (500, 1, -1):
            kernel.call(count, cells)
        print(cells[0], cells[1], cells[499], cells[500])
    """
    assert in_a_process(text) == "3 1 1 0"


def test_one_kernel_for_threads_that_ask_at_once():
    written, found = [], []

    def write():
        written.append(1)
        return COUNT

    key = ("test_at_once", time.time_ns())  # other tests seed `random`
    callers = [
        threading.Thread(target=lambda: found.append(launch.kernel(key, write))) for _ in range(8)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(written) == 1 and len(found) == 8 and len(set(map(id, found))) == 1


def test_text_that_is_no_ir():
    with pytest.raises(RuntimeError):
        launch.kernel(("test_wrong",), lambda: "define void @task(")
    assert run_once(count_kernel().call, 10)


# ---------------------------------------------------------------- the road
def test_roads():
    with road.forced("numpy"):
        assert not road.worth(10**12, 1) and not road.enabled() and not road.ready()
    with road.forced("native"):
        assert road.worth(0, 10**12) and road.enabled() and road.ready()
        with road.forced("auto"):
            assert road.worth(100, 100) and not road.worth(99, 100)
        assert road.mode() == "native"
    with pytest.raises(ValueError, match="auto, numpy, native"), road.forced("fast"):
        pass


def test_finding_out_waits_for_work_that_is_worth_it():
    text = """
        import sys
        from danlu.kernels.runtime import road
        assert not road.worth(99, 100) and "llvmlite" not in sys.modules
        assert road.worth(100, 100) and "llvmlite" in sys.modules
    """
    in_a_process(text, DANLU_KERNELS="auto")


BLOCKED = """
    import sys
    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "llvmlite":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.meta_path.insert(0, Blocked())
"""


def test_everything_works_without_llvmlite():
    text = (
        BLOCKED
        + """
    import danlu as torch
    from danlu.cli import main
    net = torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.GELU(), torch.nn.Linear(300, 1))
    optimizer = torch.optim.Adam(net.parameters())
    for _ in range(20):
        loss = net(torch.ones(500, 300)).square().mean()
        loss.backward()
        optimizer.step()
    main(["doctor", "--json"])
    """
    )
    report = json.loads(in_a_process(text, DANLU_KERNELS="native"))["kernels"]
    assert report["road"] == "numpy"
    assert report["reason"] == "llvmlite is not installed: pip install 'danlu[compile]'"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("llvmlite.__version__ = '0.43.0'", "llvmlite 0.43.0 is installed, 0.50 is needed"),
        (
            "from llvmlite import binding; binding.create_lljit_compiler = lambda: None",
            "llvmlite does not work here: ",
        ),
    ],
)
def test_an_llvmlite_that_does_not_fit(change, reason):
    text = f"""
        import llvmlite
        {change}
        from danlu.kernels.runtime import road
        assert road.mode() == "numpy" and not road.worth(10**9, 1)
        print(road.reason())
    """
    assert reason in in_a_process(text, DANLU_KERNELS="auto")


def test_doctor_tells_of_kernels(capsys):
    from danlu.cli import main

    with road.forced("auto"):
        main(["doctor"])
    lines = {line.partition(" ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "auto: llvmlite 0.50" in lines["kernels"] and "-bit vectors" in lines["kernels"]


def test_the_kernels_page_runs():
    text = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(block, names)
    for size in (1, 7, 16384, 16385):
        x, y = np.ones((2, size), np.float32)
        assert (names["scaled_sum"](2, x, y) == 3).all()
