"""Sharing pieces of work on the CPU out among threads."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import Barrier

import torch


class Interrupted(Exception):  # noqa: N818 - not an error: unwinds work that nobody waits for any more
    """The work was cancelled between two of its pieces."""


_forked = False


def limit_forked_child() -> bool:
    """Let torch use one thread where this process is a forked child, and tell whether it is one.

    A fork copies one thread alone. OpenMP does not notice that its others are gone, and waits for them for ever at the
    next operation that it shares out; with one thread there is none.
    """
    if _forked:
        torch.set_num_threads(1)
    return _forked


def _after_fork() -> None:
    """In the child: forget the workers, whose threads stayed in the parent."""
    global _forked
    _forked = True
    _pool.cache_clear()
    limit_forked_child()


def _never() -> bool:
    return False


_cancelled: ContextVar[Callable[[], bool]] = ContextVar("cancelled", default=_never)


@contextmanager
def interruptible(cancel: Callable[[], bool]) -> Generator[None, None, None]:
    """Inside, `share` and `poll` ask `cancel` before each piece of work, and raise `Interrupted` once it says yes.

    Not to be held across the `yield` of a generator: the caller would be interruptible too.
    """
    token = _cancelled.set(cancel)
    try:
        yield
    finally:
        _cancelled.reset(token)


def poll() -> None:
    """Between two pieces of work that is not shared out: stop here if it was cancelled.

    Raises
    ------
    Interrupted
        If it was, see `interruptible`.
    """
    if _cancelled.get()():
        raise Interrupted


def groups(length: int, size: int) -> list[slice]:
    """Cut `length` items into slices of at most `size`."""
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def share(pieces: Iterable[slice], begin: Callable[[], Callable[[slice], None]]) -> None:
    """Work on all pieces with as many threads as torch may use.

    Every thread calls `begin` once for a work function with buffers of its own, and takes pieces until none is left.
    Threads with one OpenMP thread each are used rather than the OpenMP threads inside an operation: those spin while
    they wait, which costs a multiple of the time on a machine that is busy otherwise.

    Raises
    ------
    Interrupted
        If the work was cancelled, see `interruptible`; pieces may then be missing.
    """
    cancel = _cancelled.get()
    queue = list(pieces)
    threads = min(torch.get_num_threads(), len(queue))
    # The next index is taken atomically: `next` of a counter is one operation under the interpreter lock.
    counter = itertools.count()

    def work() -> None:
        do = begin()
        while (index := next(counter)) < len(queue):
            if cancel():
                raise Interrupted
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


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)
