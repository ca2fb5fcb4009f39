"""Machine code on disk."""

import os
import threading
import time

import pytest

pytest.importorskip("llvmlite")

from danlu.kernels.runtime import cache, machine, road
from tests.unit.kernel_texts import COUNT, in_a_process


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    if road.reason() is not None:
        pytest.skip(road.reason())
    place = tmp_path / "kernels"
    monkeypatch.setenv("DANLU_CACHE", str(place))
    return place


def load(key=("test_cache",)):
    return machine.load(key, lambda: COUNT, ("task",))


def only_file(folder):
    (path,) = folder.glob("*.obj")
    return path


def test_code_is_compiled_once(folder):
    first, second = load(), load()
    assert not first.cached and second.cached
    assert first.size == second.size
    assert folder.stat().st_mode & 0o077 == 0
    assert not load(("test_cache", 2)).cached
    assert cache.info()["kernels"] == 2
    assert cache.clear() == 2 and cache.info()["bytes"] == 0


@pytest.mark.parametrize("damage", ["a byte", "torn", "empty", "foreign"])
def test_damaged_files_are_replaced(folder, damage):
    load()
    path = only_file(folder)
    good = path.read_bytes()
    bad = {
        "a byte": good[:100] + bytes([good[100] ^ 1]) + good[101:],
        "torn": good[: len(good) // 2],
        "empty": b"",
        "foreign": b"not an object" * 100,
    }
    path.write_bytes(bad[damage])
    assert not load().cached
    assert path.read_bytes() == good
    assert load().cached


def test_files_of_another_user_are_left_alone(folder, monkeypatch):
    load()
    path = only_file(folder)
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert not load().cached


@pytest.mark.parametrize("setting", ["", "a file"])
def test_without_a_folder_it_compiles_every_time(monkeypatch, tmp_path, setting):
    if setting:
        (tmp_path / "file").write_text("")
        setting = str(tmp_path / "file" / "kernels")
    monkeypatch.setenv("DANLU_CACHE", setting)
    assert not load().cached
    assert not load().cached
    assert cache.info()["kernels"] == 0
    assert cache.info()["folder"] == (setting or None)


def test_the_folder_stays_small_and_keeps_what_is_used(folder, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE_BYTES", "20000")
    image = b"x" * 1000
    for number in range(19):
        cache.write(f"kernel{number}", image)
        os.utime(folder / f"kernel{number}.obj", (1e9 + number, 1e9 + number))
    assert cache.info()["kernels"] == 19
    assert cache.read("kernel0") == image
    assert time.time() - (folder / "kernel0.obj").stat().st_mtime < 3600
    cache.write("one more", image)
    cache.write("two more", image)  # looks through the folder again
    assert cache.info()["bytes"] <= 15000
    assert cache.read("kernel0") == image and cache.read("one more") == image
    assert cache.read("kernel1") is None and cache.read("kernel18") == image


def test_the_folder_holds_few_files(folder, monkeypatch):
    monkeypatch.setattr(cache, "MOST_FILES", 8)
    monkeypatch.setattr(cache, "_bytes_since_trim", 0)
    for number in range(12):
        cache.write(f"kernel{number}", b"x")
        os.utime(folder / f"kernel{number}.obj", (1e9 + number, 1e9 + number))
    monkeypatch.setattr(cache, "_bytes_since_trim", 1 << 62)
    cache.write("one more", b"x")
    assert cache.info()["kernels"] == 6
    assert cache.read("one more") == b"x" and cache.read("kernel6") is None


def test_many_writers_of_one_file(folder):
    image, wrong = os.urandom(200_000), []
    stop = time.monotonic() + 0.5

    def work():
        while time.monotonic() < stop:
            cache.write("same", image)
            if cache.read("same") != image:
                wrong.append(1)

    writers = [threading.Thread(target=work) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not wrong
    assert [path.name for path in folder.iterdir()] == ["same.obj"]


def test_a_second_process_starts_warm(folder):
    text = """
        from kernel_texts import COUNT
        from danlu.kernels.runtime import launch, memory, pool
        kernel = launch.kernel(("test_warm",), lambda: COUNT)
        codes = pool.POOL.code, kernel.code, memory._arena and memory._arena.code
        print(*(code.cached for code in codes if code))
    """
    first, second = (set(in_a_process(text).split()) for _ in range(2))
    assert first == {"False"} and second == {"True"}


def test_keys_tell_kernels_and_machines_apart():
    from danlu.kernels.codegen.target import host, named

    keys = {
        cache.key(kernel, target)
        for kernel in (("a",), ("a", 1), ("b",))
        for target in (host(), named("aarch64-unknown-linux-gnu", "neoverse-n1"))
    }
    assert len(keys) == 6
