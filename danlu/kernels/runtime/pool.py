"""One pool of native threads for all kernels, and the entry through which Python calls them.

A kernel is a function `task(arguments, index, thread)`; a call runs it for every index below a
count. Tasks are claimed one by one from a ticket (an epoch and the number left, changed by
compare-and-swap), so the caller never waits for a worker that is still waking up: it does the
tasks itself. Workers are plain threads that never touch Python; they look for work for some tens
of microseconds after the last one and then sleep on a condition. Two tasks meet within a
microsecond while workers are awake, 25 when they sleep.

A call from inside a task, and a call from a second Python thread while the pool is busy, do all
their tasks themselves. Which thread does a task never changes a result: tasks are cut by shape
alone.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import threading

from danlu.backend import threads
from danlu.kernels.runtime import entry, machine

__all__ = ["MAX_THREADS", "POOL", "ensure", "stop", "thread_count"]

# The most threads there can be. Scratch memory of kernels is cut by thread number and for so many: in
# between another Python thread may ask for more threads. What no thread uses is never touched.
MAX_THREADS = min(64, max(8, os.cpu_count() or 1))
# Turns of a worker that looks for work before it sleeps: 20 to 50 us. Longer burns a core while
# Python runs (2 ms: all of it), none costs 3 us at every meeting.
_SPIN = 4000

# Where the fields of the pool are; one cache line each for what different threads write.
_SEQUENCE, _JOB, _TICKET, _DONE, _SLEEPERS = 0, 64, 128, 192, 256
_STOP, _SPIN_TURNS, _BUSY, _NEXT, _MUTEX, _CONDITION = 320, 324, 328, 332, 384, 512
_SIZE = 640

_X86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
PAUSE = (
    'call void asm sideeffect "pause", ""()' if _X86 else ('call void asm sideeffect "yield", ""()')
)


def text() -> str:
    """The IR of the pool and of the entry from Python."""
    return _TEXT + entry.TEXT


_TEXT = f"""
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @sched_yield()
@danlu_pool = external global i8

; take tasks of the present job until none is left
define internal void @work(ptr %pool, i64 %thread) #0 {{
entry:
  %ticket_at = getelementptr i8, ptr %pool, i64 {_TICKET}
  %task_at = getelementptr i8, ptr %pool, i64 {_JOB}
  %arguments_at = getelementptr i8, ptr %pool, i64 {_JOB + 8}
  %count_at = getelementptr i8, ptr %pool, i64 {_JOB + 16}
  %done_at = getelementptr i8, ptr %pool, i64 {_DONE}
  br label %look
look:
  %ticket = load atomic i64, ptr %ticket_at acquire, align 8
  %left = and i64 %ticket, 4294967295
  %none = icmp eq i64 %left, 0
  br i1 %none, label %out, label %claim
claim:
  %task = load ptr, ptr %task_at
  %arguments = load ptr, ptr %arguments_at
  %count = load i64, ptr %count_at
  %less = sub i64 %ticket, 1
  %swap = cmpxchg ptr %ticket_at, i64 %ticket, i64 %less acq_rel acquire
  %mine = extractvalue {{i64, i1}} %swap, 1
  br i1 %mine, label %run, label %look
run:
  %index = sub i64 %count, %left
  call void %task(ptr %arguments, i64 %index, i64 %thread)
  %counted = atomicrmw add ptr %done_at, i64 1 release
  br label %look
out:
  ret void
}}

; what a worker thread does until it is told to stop
define ptr @danlu_worker(ptr %pool) #0 {{
entry:
  %sleepers_at = getelementptr i8, ptr %pool, i64 {_SLEEPERS}
  %stop_at = getelementptr i8, ptr %pool, i64 {_STOP}
  %spin_at = getelementptr i8, ptr %pool, i64 {_SPIN_TURNS}
  %next_at = getelementptr i8, ptr %pool, i64 {_NEXT}
  %mutex = getelementptr i8, ptr %pool, i64 {_MUTEX}
  %condition = getelementptr i8, ptr %pool, i64 {_CONDITION}
  %before = atomicrmw add ptr %next_at, i32 1 acq_rel
  %number = add i32 %before, 1
  %thread = zext i32 %number to i64
  br label %top
top:
  %seen = load atomic i32, ptr %pool acquire, align 4
  %stop = load atomic i32, ptr %stop_at acquire, align 4
  %ending = icmp ne i32 %stop, 0
  br i1 %ending, label %end, label %look
look:
  call void @work(ptr %pool, i64 %thread)
  %turns = load i32, ptr %spin_at
  br label %spin
spin:
  %turn = phi i32 [ 0, %look ], [ %following, %again ]
  %sequence = load atomic i32, ptr %pool acquire, align 4
  %fresh = icmp ne i32 %sequence, %seen
  br i1 %fresh, label %top, label %again
again:
  {PAUSE}
  %following = add i32 %turn, 1
  %more = icmp slt i32 %following, %turns
  br i1 %more, label %spin, label %park
park:
  %s0 = atomicrmw add ptr %sleepers_at, i32 1 seq_cst
  %l0 = call i32 @pthread_mutex_lock(ptr %mutex)
  br label %check
check:
  %now = load atomic i32, ptr %pool seq_cst, align 4
  %changed = icmp ne i32 %now, %seen
  br i1 %changed, label %woken, label %wait
wait:
  %w = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %check
woken:
  %l1 = call i32 @pthread_mutex_unlock(ptr %mutex)
  %s1 = atomicrmw sub ptr %sleepers_at, i32 1 seq_cst
  br label %top
end:
  ret ptr null
}}

define void @danlu_wake(ptr %pool) #0 {{
entry:
  %sleepers_at = getelementptr i8, ptr %pool, i64 {_SLEEPERS}
  %s = atomicrmw add ptr %pool, i32 1 seq_cst
  %sleepers = load atomic i32, ptr %sleepers_at seq_cst, align 4
  %nobody = icmp eq i32 %sleepers, 0
  br i1 %nobody, label %out, label %wake
wake:
  %mutex = getelementptr i8, ptr %pool, i64 {_MUTEX}
  %condition = getelementptr i8, ptr %pool, i64 {_CONDITION}
  %l0 = call i32 @pthread_mutex_lock(ptr %mutex)
  %l1 = call i32 @pthread_mutex_unlock(ptr %mutex)
  %b = call i32 @pthread_cond_broadcast(ptr %condition)
  br label %out
out:
  ret void
}}

; a job by all threads; the caller holds the pool (busy) and returns when every task is done
define internal void @share(ptr %pool, ptr %task, ptr %arguments, i64 %count) #0 {{
entry:
  %task_at = getelementptr i8, ptr %pool, i64 {_JOB}
  %arguments_at = getelementptr i8, ptr %pool, i64 {_JOB + 8}
  %count_at = getelementptr i8, ptr %pool, i64 {_JOB + 16}
  %ticket_at = getelementptr i8, ptr %pool, i64 {_TICKET}
  %done_at = getelementptr i8, ptr %pool, i64 {_DONE}
  %busy_at = getelementptr i8, ptr %pool, i64 {_BUSY}
  store ptr %task, ptr %task_at
  store ptr %arguments, ptr %arguments_at
  store i64 %count, ptr %count_at
  store i64 0, ptr %done_at
  %old = load i64, ptr %ticket_at
  %epoch = add i64 %old, 4294967296
  %ticket = or i64 %epoch, %count
  store atomic i64 %ticket, ptr %ticket_at release, align 8
  call void @danlu_wake(ptr %pool)
  call void @work(ptr %pool, i64 0)
  br label %spin
spin:
  %turn = phi i32 [ 0, %entry ], [ %following, %again ]
  %done = load atomic i64, ptr %done_at acquire, align 8
  %finished = icmp eq i64 %done, %count
  br i1 %finished, label %out, label %pause
pause:
  {PAUSE}
  %following = add i32 %turn, 1
  %low = and i32 %following, 1023
  %long = icmp eq i32 %low, 0
  br i1 %long, label %yield, label %again
yield:
  %y = call i32 @sched_yield()
  br label %again
again:
  br label %spin
out:
  store atomic i32 0, ptr %busy_at release, align 4
  ret void
}}

; task(arguments, index, thread) for every index below count; alone where the pool is taken
define void @danlu_parallel(ptr %task, ptr %arguments, i64 %count) #0 {{
entry:
  %busy_at = getelementptr i8, ptr @danlu_pool, i64 {_BUSY}
  %less = sub i64 %count, 2
  %several = icmp ult i64 %less, 4294967294
  br i1 %several, label %take, label %alone
take:
  %was = atomicrmw xchg ptr %busy_at, i32 1 acquire
  %taken = icmp ne i32 %was, 0
  br i1 %taken, label %alone, label %together
alone:
  %index = phi i64 [ 0, %entry ], [ 0, %take ], [ %following, %one ]
  %more = icmp slt i64 %index, %count
  br i1 %more, label %one, label %out
one:
  call void %task(ptr %arguments, i64 %index, i64 0)
  %following = add i64 %index, 1
  br label %alone
together:
  call void @share(ptr @danlu_pool, ptr %task, ptr %arguments, i64 %count)
  br label %out
out:
  ret void
}}

; take the pool, or wait for it
define void @danlu_hold() #0 {{
entry:
  %busy_at = getelementptr i8, ptr @danlu_pool, i64 {_BUSY}
  br label %take
take:
  %was = atomicrmw xchg ptr %busy_at, i32 1 acquire
  %taken = icmp ne i32 %was, 0
  br i1 %taken, label %wait, label %out
wait:
  %y = call i32 @sched_yield()
  br label %take
out:
  ret void
}}

define void @danlu_release() #0 {{
entry:
  %busy_at = getelementptr i8, ptr @danlu_pool, i64 {_BUSY}
  store atomic i32 0, ptr %busy_at release, align 4
  ret void
}}

; for jobs that wait for each other (a BLAS library's): wait for the pool, never run them in turn
define void @danlu_parallel_together(ptr %task, ptr %arguments, i64 %count) #0 {{
  call void @danlu_hold()
  call void @share(ptr @danlu_pool, ptr %task, ptr %arguments, i64 %count)
  ret void
}}

attributes #0 = {{ nounwind }}
"""

POOL: Pool | None = None
_lock = threading.RLock()


class Pool:
    """The pool of this process and the code of `_TEXT`."""

    def __init__(self):
        self._memory = (ctypes.c_char * (_SIZE + 64))()
        self.address = (ctypes.addressof(self._memory) + 63) // 64 * 64
        self._api = ctypes.CDLL(None)
        entry.provide_python()
        machine.provide("danlu_pool", self.address)
        self.code = machine.load(
            ("pool", _SPIN),
            text,
            ("danlu_worker", "danlu_wake", "danlu_hold", "danlu_release", "danlu_parallel",
             "danlu_parallel_together", "danlu_entry"),
        )  # fmt: skip
        addresses = self.code.addresses
        machine.provide("danlu_parallel", addresses["danlu_parallel"])
        self._wake = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(addresses["danlu_wake"])
        self._hold = ctypes.CFUNCTYPE(None)(addresses["danlu_hold"])
        self._release = ctypes.CFUNCTYPE(None)(addresses["danlu_release"])
        self._workers: list[ctypes.c_size_t] = []
        self._reset()

    def _reset(self) -> None:
        """No job, no worker: a fresh process, or a child after a fork."""
        ctypes.memset(self.address, 0, _SIZE)
        self._api.pthread_mutex_init(ctypes.c_void_p(self.address + _MUTEX), None)
        self._api.pthread_cond_init(ctypes.c_void_p(self.address + _CONDITION), None)
        ctypes.c_int32.from_address(self.address + _SPIN_TURNS).value = _SPIN
        self._workers = []

    @property
    def threads(self) -> int:
        """How many threads take part, the caller included."""
        return 1 + len(self._workers)

    def resize(self, count: int) -> None:
        """Let `count` threads take part; waits until no kernel runs on the pool."""
        count = min(count, MAX_THREADS)
        with _lock:
            if count == self.threads:
                return
            self._hold()
            try:
                self._end_workers()
                self._start_workers(count - 1)
            finally:
                self._release()

    def stop(self) -> None:
        """End the workers; calls run on the calling thread alone until `resize`."""
        self.resize(1)

    def _start_workers(self, count: int) -> None:
        worker = ctypes.c_void_p(self.code.addresses["danlu_worker"])
        # Signals are for the threads of Python: Ctrl-C interrupts what the main thread waits for.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ASYNCHRONOUS)
        try:
            for _ in range(count):
                thread = ctypes.c_size_t()
                failed = self._api.pthread_create(
                    ctypes.byref(thread), None, worker, ctypes.c_void_p(self.address)
                )
                if failed:  # no more threads to be had: fewer do the work
                    break
                self._workers.append(thread)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _end_workers(self) -> None:
        stop = ctypes.c_int32.from_address(self.address + _STOP)
        stop.value = 1
        self._wake(self.address)
        while self._workers:
            self._api.pthread_join(self._workers.pop(), None)
        stop.value = 0
        ctypes.c_int32.from_address(self.address + _NEXT).value = 0

    def after_fork(self) -> None:
        """In a child process there are no workers, and nobody holds the pool."""
        self._reset()


# Faults of a thread's own doing are delivered to it also when they are blocked, and then end the
# process without a word of faulthandler's.
_ASYNCHRONOUS = signal.valid_signals() - {
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT,
} if hasattr(signal, "pthread_sigmask") else set()  # fmt: skip


def ensure() -> Pool:
    """The pool, made when first asked for, with as many threads as `get_num_threads()` says."""
    global POOL
    if POOL is None:
        with _lock:
            if POOL is None:
                pool = Pool()
                pool.resize(_wanted())
                threads.keep_blas_single()
                POOL = pool
                threads.on_change(_follow)
    return POOL


def _wanted() -> int:
    """How many threads to begin with. A daemonic process is a helper of another, whose threads are
    busy too: the workers of a DataLoader."""
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.current_process().daemon:
        return 1
    return threads.get_num_threads()


def _follow() -> None:
    """Take over what `set_num_threads` has been told."""
    ensure().resize(threads.get_num_threads())


def lock() -> threading.RLock:
    """What is held while code is loaded or the pool changes."""
    return _lock


def _before_fork() -> None:
    """Wait until no thread compiles: the child would inherit llvmlite's lock as taken."""
    _lock.acquire()
    machine._lock.acquire()


def _after_fork_in_parent() -> None:
    machine._lock.release()
    _lock.release()


def _after_fork() -> None:
    global _lock
    _lock, machine._lock = threading.RLock(), threading.RLock()
    if POOL is not None:
        POOL.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork
    )


def thread_count() -> int:
    """How many threads kernels use now."""
    return ensure().threads


def stop() -> None:
    """End the workers, if there are any."""
    if POOL is not None:
        POOL.stop()
