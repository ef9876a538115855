"""The workers of a cluster that can do their part of one run: checked, given tasks, waited for, stopped."""

from __future__ import annotations

import asyncio
import pickle
import time
import uuid
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from napari_mvfusion.data.events import Event, Noted, Warned
from napari_mvfusion.engine.cluster.connecting import dask_distributed
from napari_mvfusion.engine.cluster.on_worker import stop_run
from napari_mvfusion.engine.cluster.worker_checks import (
    Conditions,
    WorkerFacts,
    facts_of_worker,
    flaw_of_worker,
    seen_files,
)
from napari_mvfusion.engine.provenance import software_versions
from napari_mvfusion.errors import DeviceError, MVFusionError
from napari_mvfusion.system.devices import pick_device
from napari_mvfusion.system.file_checks import cause_of

_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0
_BEFORE_VOLUMES = 10


class Workers:
    """The workers of a cluster, for one run.

    Attributes
    ----------
    run : what the run is called on the cluster
    device : the kind that all of them compute on, once `begin` has looked
    ready : addresses of those that can do their part
    facts : what they say of themselves, by their addresses, as they were when the run began

    Parameters
    ----------
    client : of `distributed`, connected
    """

    def __init__(self, client: Any) -> None:
        self.run = f"mvfusion-{uuid.uuid4().hex[:8]}"
        self.device = ""
        self.ready: set[str] = set()
        self.facts: dict[str, WorkerFacts] = {}
        self._client = client
        self._scheduler = client.scheduler.address
        self._conditions = Conditions("auto", {})
        self._asked: dict[str, Any] = {}
        self._refused: set[str] = set()
        self._numbers = count()
        self._lonely = False
        self._told: dict[str, Future[Any]] = {}
        self._stopped_at = 0.0

    def begin(self, device: str, paths: Iterable[Path]) -> Generator[Event, None, None]:
        """Look whether all workers can do their part, before anything is read.

        Parameters
        ----------
        device : as for `fuse_events`
        paths : files and folders that are read

        Raises
        ------
        InputError
            If a worker does not see a file, or sees another one.
        DeviceError
            If there is no worker, or one has another software or another kind of device.
        """
        self._conditions = Conditions(device, seen_files(paths))
        facts = yield from self._facts_of_all()
        kinds = {there.device: worker for worker, there in facts.items()}
        if len(kinds) > 1:
            where = " and ".join(f"{kind} (as {worker})" for kind, worker in kinds.items())
            raise DeviceError(f"workers compute on {where}: choose one of them with --device")
        self.device = next(iter(kinds))
        self.facts = facts
        shown = self._client.dashboard_link
        board = f"; its dashboard is at {shown}" if shown else ""
        yield Noted(f"the cluster at {self._scheduler} has {self.words}{board}")

    @property
    def words(self) -> str:
        """How many there were when the run began, and what they are, as a person says it."""
        words = ", ".join(sorted({there.device_words for there in self.facts.values()}))
        return f"{len(self.facts)} worker{'s' if len(self.facts) > 1 else ''} ({words})"

    @property
    def device_here(self) -> torch.device:
        """What this computer computes on beside them: the same kind of device where it has one."""
        try:
            return pick_device(self.device)
        except DeviceError:
            return pick_device("cpu")

    def check_place(self, place: Path) -> Generator[Event, None, None]:
        """Look whether all workers can write to an output. Whoever calls this holds its lock.

        Raises
        ------
        OutputError
            If one cannot, or sees another folder.
        """
        self._conditions = replace(self._conditions, place=place.absolute())
        facts = yield from self._facts_of_all()
        self.ready = set(facts)

    def look(self) -> Generator[Event, None, None]:
        """Find out which workers are there; such as have come are asked whether they can do their part."""
        present = self.drop_lost()
        for worker in present - self.ready - self._refused - self._asked.keys():
            self._asked[worker] = self._ask(worker)
        for worker, asked in list(self._asked.items()):
            if worker not in present or asked.done():
                del self._asked[worker]
            if worker not in present or not asked.done():
                continue
            there = self._answer(asked, worker)
            flaw = there if isinstance(there, MVFusionError) else self._flaw_beside_others(there, worker)
            if flaw is not None:
                yield Warned(f"it gets no task: {flaw}")
            (self.ready if flaw is None else self._refused).add(worker)
        if not self.ready and not self._lonely:
            yield Warned("the cluster has no worker any more that can go on: waiting for one")
        self._lonely = not self.ready

    def drop_lost(self) -> set[str]:
        """Take those that are gone from those that are ready, and return all that are there."""
        present = set(self._present())
        self.ready &= present
        return present

    def submit(self, function: Callable[..., Any], *arguments: Any, worker: str, **named: Any) -> Any:
        """Give a worker a task, with its key as its last argument. Returns its future.

        Where the worker is lost, the future is never done: Dask hands tasks on to workers that it knows already, and
        those that it knows later would never get it.
        """
        key = self._key()
        return self._call(partial(function, *arguments, key, **named), key, worker)

    def wait(self, futures: Collection[Any]) -> list[Any]:
        """Those of some tasks that are done, after a moment at most.

        Raises
        ------
        DeviceError
            If the scheduler is gone.
        """
        if not futures:
            time.sleep(_LOOK_SECONDS)
            return []
        try:
            with self._client.as_current():
                dask_distributed().wait(list(futures), timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED")
        except CancelledError as error:
            raise self._gone() from error
        except TimeoutError:
            return []
        if any(given_up(future) for future in futures):
            raise self._gone()
        return [future for future in futures if future.done()]

    def result(self, future: Any) -> Any:
        """What a task that is done has returned; what it has raised is raised here.

        Raises
        ------
        DeviceError
            If the scheduler is gone.
        """
        try:
            return future.result()
        except CancelledError as error:
            raise self._gone() from error
        finally:
            future.release()

    def outcome(self, future: Any, worker: str) -> Any:
        """The same of a task that a worker was given, or None where Dask found that it ends workers that come back.

        Raises
        ------
        DeviceError
            If the scheduler is gone.
        RuntimeError
            If the task has raised what nobody foresaw; names the worker.
        """
        try:
            return self.result(future)
        except (MVFusionError, MemoryError, OSError):
            raise
        except Exception as error:
            if type(error).__name__ == "KilledWorker":
                return None
            raise RuntimeError(
                f"the worker {worker}, which may have other code of the same version, says {cause_of(error)}"
            ) from error

    def stop(self) -> None:
        """Have what workers do for this run end after the step that they are at; to be called until they have.

        Those that do not even answer for a while are not ready any more.
        """
        if not self._told:
            self._stopped_at = time.monotonic()
            self._told = {worker: self.tell(stop_run, [worker]) for worker in self.ready}
        if time.monotonic() - self._stopped_at > _PATIENCE_SECONDS:
            self.ready -= {worker for worker, told in self._told.items() if not told.done()}

    def tell(self, function: Callable[[str], None], workers: Sequence[str] | None = None) -> Future[Any]:
        """Call a function on workers, with what the run is called. Nothing waits for it: one may never answer.

        Parameters
        ----------
        function : whatever it returns is left
        workers : their addresses; None for all
        """

        async def told() -> None:
            # Called where the loop of the client runs, this waits without holding up anything.
            await self._client.run(function, self.run, workers=workers, on_error="ignore")

        return asyncio.run_coroutine_threadsafe(told(), self._client.loop.asyncio_loop)

    def _facts_of_all(self) -> Generator[Event, None, dict[str, WorkerFacts]]:
        """What all workers say of themselves, unless one cannot do its part."""
        asked = {worker: self._ask(worker) for worker in self._present()}
        begun, told = time.monotonic(), False
        while late := [worker for worker, future in asked.items() if not future.done()]:
            self.wait([asked[worker] for worker in late])
            for worker in asked.keys() - set(self._present()):
                del asked[worker]
            if not told and time.monotonic() - begun > _PATIENCE_SECONDS:
                told = True
                yield Noted(f"waiting for the worker {late[0]}, which begins slowly or has something else to do")
        if not asked:
            raise DeviceError(f"the scheduler {self._scheduler} has no workers: start some, as by dask worker")
        facts = {}
        for worker, future in asked.items():
            there = self._answer(future, worker)
            if isinstance(there, MVFusionError):
                raise there
            facts[worker] = there
        return facts

    def _ask(self, worker: str) -> Any:
        # A worker that is asked alone may be lost at any time: a task, unlike a call, lets nobody wait for it then.
        return self._call(partial(facts_of_worker, self._conditions), self._key(), worker, priority=_BEFORE_VOLUMES)

    def _call(self, work: Callable[[], Any], key: str, worker: str, *, priority: int = 0) -> Any:
        # The scheduler unpacks what it is given, and need not have this package: it gets bytes.
        packed = pickle.dumps(work)
        return self._client.submit(_unpacking(), packed, key=key, workers=[worker], priority=priority, pure=False)

    def _answer(self, asked: Any, worker: str) -> WorkerFacts | MVFusionError:
        """What a worker says of itself, or what keeps it from doing its part."""
        try:
            there: WorkerFacts = self.result(asked)
        except DeviceError:
            raise
        except Exception as error:  # an old package, or none, fails in any way
            wanted = software_versions()["napari-mvfusion"]
            return DeviceError(
                f"the worker {worker} lacks napari-mvfusion {wanted} ({cause_of(error)}): install it there"
            )
        return flaw_of_worker(there, worker) or there

    def _flaw_beside_others(self, there: WorkerFacts, worker: str) -> MVFusionError | None:
        if there.device == self.device:
            return None
        return DeviceError(f"the worker {worker} computes on {there.device}, and the others on {self.device}")

    def _key(self) -> str:
        return f"{self.run}-{next(self._numbers)}"

    def _present(self) -> list[str]:
        if self._client.status != "running":
            raise self._gone()
        try:
            return list(self._client.nthreads())
        except (OSError, CancelledError) as error:
            raise self._gone() from error

    def _gone(self) -> DeviceError:
        return DeviceError(
            f"the scheduler {self._scheduler} is gone, or has given up this run: what is finished is kept, go on with "
            "--resume once a cluster is there"
        )


def given_up(future: Any) -> bool:
    """Whether a task will never be done, as its scheduler is gone, or is another one by now."""
    return future.status in ("cancelled", "lost")


def _unpacking() -> Callable[[bytes], Any]:
    """What a worker does with work that was packed here; it is sent as it is, as it has no name in a module."""

    def unpacked(packed: bytes) -> Any:
        return pickle.loads(packed)()

    return unpacked
