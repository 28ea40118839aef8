"""One process pool for every stage that does the same to many utterances.

The pool's workers are processes, because WORLD holds the interpreter's lock. Each worker gets
`cores / processes` threads: two PyTorch processes of two threads each on two cores stall each other by a
factor of ten.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import joblib

Item = TypeVar("Item")
Result = TypeVar("Result")


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
) -> Iterator[Result]:
    """Yields `function(item)` in the order of `items`, at most a few batches ahead of the reader.

    `function` must be picklable (a module-level function or a `functools.partial` of one). An exception in a
    worker is raised here. `processes=1` runs in this process.
    """
    processes = processes or cores()
    if processes == 1:
        yield from map(function, items)
        return
    pool = joblib.Parallel(
        n_jobs=processes, return_as="generator", pre_dispatch=2 * processes, batch_size=1,
    )
    with joblib.parallel_config("loky", inner_max_num_threads=max(1, cores() // processes)):
        for results in pool(joblib.delayed(_run_batch)(function, group) for group in _groups(items, batch)):
            yield from results


def _groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    group: list[Item] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
