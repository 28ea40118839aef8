"""One way for every stage to process many utterances: on threads, or in a pool of processes.

Threads serve where the work is done in libraries that release the interpreter's lock; they start at once. Processes
serve elsewhere. A thread gets one core and a process `cores / processes`: two PyTorch processes with two threads each
on two cores slow each other down by a factor of ten.

Results are the same to the bit in any run with as many cores, whatever else the machine does: each thread computes on
a number of cores that it is given before its first operation (`thread_pool`).
"""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def cores() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _run_batch(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def parallel_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int | None = None,
    batch: int = 16,
) -> Iterator[Result]:
    """Yields `function(item)` in the order of `items`, at most two batches per process ahead of the reader.

    `function` must be picklable (a module-level function or a `functools.partial` of one). An exception in a
    worker is raised here. `processes=1` runs in this process.
    """
    processes = processes or cores()
    if processes == 1:
        yield from map(function, items)
        return
    from joblib.externals.loky import get_reusable_executor  # not needed for threads, and slow to load

    threads = str(max(1, cores() // processes))
    with _without_interrupts():
        pool = get_reusable_executor(processes, env=dict.fromkeys(THREAD_VARIABLES, threads), initializer=_end_silently)
    pending: deque[Any] = deque()
    try:
        for group in _groups(items, batch):
            with _without_interrupts():
                pending.append(pool.submit(_run_batch, function, group))
            if len(pending) == 2 * processes:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:  # after an error, or when the reader stops early
        for future in pending:
            future.cancel()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A context in which Ctrl-C waits; also in processes started in it, until `_end_silently`."""
    resource_tracker.ensure_running()  # starting it ends what the next line begins
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_silently() -> None:
    """From now on Ctrl-C ends this process of a pool, without the traceback of each."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def thread_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[Result]:
    """Yields `function(item)` in the order of `items`, at most four items per thread ahead of the reader.

    Each item is computed on one core (`one_thread`), and the reader computes on one until the last is read.
    """
    threads = threads or cores()
    pending: deque[Any] = deque()
    with one_thread(), thread_pool(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) == 4 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # after an error, or when the reader stops early
            for future in pending:
                future.cancel()


@contextmanager
def thread_pool(count: int, cores_each: int = 1) -> Iterator[ThreadPoolExecutor]:
    """`count` threads, in each of which PyTorch computes on `cores_each` cores from the first operation on.

    Other threads than these take over PyTorch's number of threads at their first operation that asks for it. LSTMs,
    convolutions and matrix products do not ask: until then they use all cores, which changes last digits. Which items
    of a pool that befell depended on the machine's load. So PyTorch must not be imported by a thread: RuntimeError.
    """
    torch = _loaded_torch()
    before = torch.get_num_threads() if torch else 1

    def settle() -> None:
        if torch:
            torch.get_num_threads()  # asks, for asking later would undo the next line, if other threads set theirs
            torch.set_num_threads(cores_each)

    try:
        with ThreadPoolExecutor(count, initializer=settle) as pool:
            yield pool
        if not torch and _loaded_torch():
            raise RuntimeError("PyTorch was first imported while threads were running, so they may have computed on "
                               "more cores than they were given; import it before they start")
    finally:
        if torch:
            torch.set_num_threads(before)  # what a thread sets is taken over by others that start later


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which PyTorch and BLAS compute on the calling thread alone.

    Callers then use as many threads as there are cores, and results are the same on any number of cores: sums split
    over threads differ in their last digits, and a recogniser with 8-bit weights now and then returns another word.
    """
    torch = _loaded_torch()
    before = torch.get_num_threads() if torch else 1
    try:
        if torch:
            torch.set_num_threads(1)
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        if torch:
            torch.set_num_threads(before)


def _loaded_torch() -> Any | None:
    """PyTorch, if anything has imported it: that takes two seconds, which stages that compute without it save."""
    return sys.modules.get("torch")


def _groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    group: list[Item] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
