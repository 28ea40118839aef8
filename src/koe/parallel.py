"""One process pool for every stage that does the same to many utterances.

The pool's workers are processes, because WORLD holds the interpreter's lock. Each worker gets
`cores / processes` threads: two PyTorch processes of two threads each on two cores stall each other by a
factor of ten.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from joblib.externals.loky import get_reusable_executor
from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE = 3.0  # s, about what a pool takes to start and import on a busy machine
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _run_batch(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def parallel_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int | None = None,
    batch: int = 16,
    patience: float = 0.0,
) -> Iterator[Result]:
    """Yields `function(item)` in the order of `items`, at most two batches a process ahead of the reader.

    `function` must be picklable (a module-level function or a `functools.partial` of one). An exception in a
    worker is raised here. `processes=1` runs in this process. So do the first `patience` seconds: a pool takes
    seconds to start and import, and a small corpus is done by then.
    """
    processes = processes or cores()
    if processes == 1:
        yield from map(function, items)
        return
    items, begun = iter(items), time.monotonic()
    if patience:
        threads_here = ThreadpoolController()
        for item in items:
            with threads_here.limit(limits=1, user_api="blas"):  # as in the pool; for small arrays faster, too
                result = function(item)
            yield result
            if time.monotonic() - begun > patience:
                break
        else:
            return
    threads = str(max(1, cores() // processes))
    pool = get_reusable_executor(processes, env=dict.fromkeys(THREAD_VARIABLES, threads))
    pending: deque[Any] = deque()
    try:
        for group in _groups(items, batch):
            pending.append(pool.submit(_run_batch, function, group))
            if len(pending) == 2 * processes:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:  # after an error, or when the reader stops early
        for future in pending:
            future.cancel()


def _groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    group: list[Item] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
