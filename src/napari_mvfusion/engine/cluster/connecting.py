"""A connection to the scheduler of a cluster, or to processes that are started for the run and end with it."""

from __future__ import annotations

import importlib
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from napari_mvfusion.engine.cluster.named_cluster import LocalWorkers, NamedCluster
from napari_mvfusion.errors import DeviceError
from napari_mvfusion.system.file_checks import cause_of

_ANSWER_SECONDS = 5
# Dask gives the second one a level of its own, which that of the first does not change.
_LOGGERS = ("distributed", "distributed.client")
_MOST_SENT = "4 GiB"
_EXTRA = 'pip install "napari-mvfusion[cluster]", and begin anew'
# What a terminal sends to all processes that were started in it, when its user stops or closes it.
_OF_TERMINALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name))


def dask_distributed() -> Any:
    """The library of Dask for clusters, loaded.

    Raises
    ------
    DeviceError
        If it is not installed, or cannot be loaded; says how to install it.
    """
    try:
        return importlib.import_module("distributed")
    except ModuleNotFoundError as error:
        raise DeviceError(f"what runs on clusters is not installed: {_EXTRA}") from error
    except ImportError as error:
        raise DeviceError(f"what runs on clusters cannot be loaded ({cause_of(error)}): {_EXTRA}") from error


@contextmanager
def connected(cluster: NamedCluster) -> Iterator[Any]:
    """The client of a cluster, while it is needed; processes that were started for it end then.

    Raises
    ------
    DeviceError
        If Dask is not installed, or no scheduler answers at the address.
    """
    distributed = dask_distributed()
    # A scheduler or a worker that goes away is told by the run, in a line.
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # What each worker is told of a run once, as a network or weights of a volume, is more than Dask warns of.
    importlib.import_module("dask").config.set({"distributed.admin.large-graph-warning-threshold": _MOST_SENT})
    if cluster.local is not None:
        with _started(distributed, cluster.local) as started, _client(distributed, started) as client:
            client.register_plugin(_ignoring_terminals(distributed))
            yield client
        return
    try:
        client = _client(distributed, cluster.address)
    except (OSError, ImportError) as error:
        raise DeviceError(
            f"no scheduler of Dask answers at {cluster.address} ({cause_of(error)}): check the address, and that "
            "dask scheduler runs there"
        ) from error
    with client:
        yield client


def _client(distributed: Any, of: Any) -> Any:
    # Arrays of Dask that views may be are not the cluster's: they are computed where they are read.
    return distributed.Client(of, timeout=_ANSWER_SECONDS, set_as_default=False)


def _started(distributed: Any, local: LocalWorkers) -> Any:
    said = {name: value for name, value in local.model_dump().items() if value is not None}
    return distributed.LocalCluster(silence_logs=logging.CRITICAL, **said)


def _ignoring_terminals(distributed: Any) -> Any:
    """Has workers ignore Ctrl-C in the terminal of the run: it is the run that stops them, in good order."""

    class IgnoringTerminals(distributed.WorkerPlugin):  # type: ignore[misc]
        name = "ignoring-terminals"

        def setup(self, worker: Any) -> None:
            del worker
            for number in _OF_TERMINALS:
                signal.signal(number, signal.SIG_IGN)

    return IgnoringTerminals()
