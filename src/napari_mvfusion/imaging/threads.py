"""Sharing pieces of work on the CPU out among threads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from threading import Barrier

import torch


def groups(length: int, size: int) -> list[slice]:
    """Cut `length` items into slices of at most `size`."""
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def share(pieces: Iterable[slice], begin: Callable[[], Callable[[slice], None]]) -> None:
    """Work on all pieces with as many threads as torch may use.

    Every thread calls `begin` once for a work function with buffers of its own, and takes pieces until none is left.
    Threads with one OpenMP thread each are used rather than the OpenMP threads inside an operation: those spin while
    they wait, which costs a multiple of the time on a machine that is busy otherwise.
    """
    queue = list(pieces)
    threads = min(torch.get_num_threads(), len(queue))
    # The next index is taken atomically: `next` of a counter is one operation under the interpreter lock.
    counter = itertools.count()

    def work() -> None:
        do = begin()
        while (index := next(counter)) < len(queue):
            do(queue[index])

    if torch.get_num_threads() == 1:
        work()
        return
    futures = [_pool(torch.get_num_threads()).submit(work) for _ in range(threads)]
    wait(futures)
    for future in futures:
        future.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Workers whose own torch operations use one thread each."""
    started = Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="mvfusion-slab", initializer=_use_one_thread)
    for _ in range(threads):
        pool.submit(started.wait)
    started.wait()
    # A thread that sets its number also sets it for threads to come: put that back.
    torch.set_num_threads(threads)
    return pool


def _use_one_thread() -> None:
    # The first question makes torch set this thread up, which would otherwise happen later and undo the setting.
    torch.get_num_threads()
    torch.set_num_threads(1)
