"""Pools keep order, errors and the number of cores in hand."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info

from koe.errors import AudioError
from koe.parallel import cores, one_thread, parallel_map, thread_map, thread_pool


def power(base: int, exponent: int) -> int:
    return base**exponent


def fail_at_seven(item: int) -> int:
    if item == 7:
        raise AudioError("too_short", "seven")
    return item


def process_of(item: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 8, 9])
def test_results_come_in_the_order_of_the_items(processes: int, count: int) -> None:
    results = parallel_map(partial(power, exponent=2), range(count), processes, batch=4)
    assert list(results) == [item**2 for item in range(count)]


def test_one_process_is_this_one_and_two_are_others() -> None:
    assert set(parallel_map(process_of, range(3), 1)) == {os.getpid()}
    assert os.getpid() not in set(parallel_map(process_of, range(8), 2, batch=1))


@pytest.mark.parametrize("processes, most", [(1, 1), (2, 2 * 2 * 5)])
def test_items_are_taken_only_as_the_reader_needs_them(processes: int, most: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(1000):
            taken += 1
            yield item

    results = parallel_map(partial(power, exponent=1), items(), processes, batch=5)
    assert next(results) == 0
    assert taken == most
    results.close()
    assert list(parallel_map(partial(power, exponent=1), range(3), processes)) == [0, 1, 2]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_in_a_worker_is_raised_here_with_its_reason(processes: int) -> None:
    with pytest.raises(AudioError, match="too_short: seven") as raised:
        list(parallel_map(fail_at_seven, range(20), processes, batch=3))
    assert (raised.value.reason, raised.value.detail) == ("too_short", "seven")


def test_there_is_a_core() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 30])
def test_threads_give_results_in_the_order_of_the_items(threads: int, count: int) -> None:
    def slow_where_even(item: int) -> int:
        time.sleep(0.002 * (item % 2 == 0))
        return item**2

    assert list(thread_map(slow_where_even, range(count), threads)) == [item**2 for item in range(count)]


def test_threads_take_items_only_as_the_reader_needs_them() -> None:
    taken = []
    results = thread_map(abs, (taken.append(item) or item for item in range(1000)), 2)
    assert next(results) == 0
    assert len(taken) == 8
    results.close()


def test_an_error_in_a_thread_is_raised_here() -> None:
    with pytest.raises(AudioError, match="too_short: seven"):
        list(thread_map(fail_at_seven, range(20), 2))


def test_threads_are_several_where_asked_for() -> None:
    both = threading.Barrier(2, timeout=30)
    assert sorted(thread_map(lambda item: both.wait() * 0 + item, range(4), 2)) == [0, 1, 2, 3]


def openmp_threads(*_: object) -> int:
    """How many threads this thread's next operation has, without PyTorch being asked, which would set it."""
    (threads,) = {library["num_threads"] for library in threadpool_info() if "torch" in library["filepath"]
                  and library["user_api"] == "openmp"}
    return threads


@pytest.fixture()
def on_four_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("on_four_cores")
def test_a_threads_first_operation_has_the_cores_that_the_pool_gives_it() -> None:
    with thread_pool(3, cores_each=5) as pool:
        all_at_once = threading.Barrier(3, timeout=30)
        assert set(pool.map(lambda _: all_at_once.wait() * 0 + openmp_threads(), range(3))) == {5}
        assert openmp_threads() == 4
    assert torch.get_num_threads() == openmp_threads() == 4
    with ThreadPoolExecutor(1) as other:  # its threads start with what the process has
        assert other.submit(torch.get_num_threads).result() == 4


@pytest.mark.usefixtures("on_four_cores")
def test_a_thread_keeps_its_cores_if_others_set_theirs_before_it_asks() -> None:
    with thread_pool(1, cores_each=5) as pool:
        assert pool.submit(openmp_threads).result() == 5
        torch.set_num_threads(4)
        assert pool.submit(torch.get_num_threads).result() == 5


@pytest.mark.usefixtures("on_four_cores")
def test_each_item_is_computed_on_one_core_and_so_is_what_the_reader_does_meanwhile() -> None:
    results = thread_map(openmp_threads, range(20), 2)
    assert next(results) == 1
    assert openmp_threads() == torch.get_num_threads() == 1
    assert set(results) == {1}
    assert openmp_threads() == torch.get_num_threads() == 4


@pytest.mark.usefixtures("on_four_cores")
def test_one_thread_gives_the_cores_back_after_an_error() -> None:
    with pytest.raises(AudioError), one_thread():
        assert openmp_threads() == 1
        fail_at_seven(7)
    assert openmp_threads() == 4


INTERRUPTED = """
import signal, sys, time
from koe.parallel import parallel_map
if __name__ == "__main__":
    results = parallel_map(time.sleep, [0.01, *[30] * 50], 2, batch=1)
    next(results)
    print("started", flush=True)
    try:
        next(results)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize("wait", [0.0, 0.5])
def test_ctrl_c_ends_the_processes_of_a_pool_at_once_and_in_silence(tmp_path: Path, wait: float) -> None:
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    started = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    assert started.stdout and started.stdout.readline() == "started\n"
    time.sleep(wait)
    os.killpg(started.pid, signal.SIGINT)  # as the terminal does
    assert started.communicate(timeout=25) == ("interrupted\n", "")


def test_a_thread_must_not_be_the_first_to_import_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speaker embeddings once differed in their last digits when the encoder was loaded by a thread."""
    loaded = sys.modules["torch"]
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(RuntimeError, match="PyTorch was first imported while threads were running"):
        list(thread_map(lambda _: sys.modules.setdefault("torch", loaded), range(2)))
