"""Which cluster is meant: one on this computer, a scheduler by its address, or a file that says either."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_mvfusion.errors import InputError
from napari_mvfusion.system.file_checks import read_text
from napari_mvfusion.system.yaml_text import parse_yaml

_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:.%]+\]|[^\s:/@\[\]]+):\d{1,5}")
_LOCAL = re.compile(r"local(?::(\d+))?")
_WHAT = "give local, local:N, tcp://HOST:PORT, or a file that holds one of these"


class LocalWorkers(BaseModel):
    """Processes on this computer: arguments of `distributed.LocalCluster`, as Dask takes what is not said.

    Attributes
    ----------
    n_workers : processes
    threads_per_worker : with which each of them computes
    memory_limit : of each, as "8GiB"
    local_directory : where Dask keeps what does not fit into memory
    dashboard_address : where its dashboard is shown, as "127.0.0.1:8787"; port 0 is any that is free
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_workers: int | None = Field(None, gt=0)
    threads_per_worker: int | None = Field(None, gt=0)
    memory_limit: str | None = None
    local_directory: str | None = None
    dashboard_address: str = "127.0.0.1:0"


class NamedCluster(BaseModel):
    """A cluster, either by the address of its scheduler or as processes that are started here.

    Attributes
    ----------
    address : of the scheduler, as tcp://HOST:PORT
    local : processes on this computer
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = None
    local: LocalWorkers | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> NamedCluster:
        if (self.address is None) == (self.local is None):
            raise ValueError("give either address or local")
        if self.address is not None and _ADDRESS.fullmatch(self.address) is None:
            raise ValueError(f"'{self.address}' is no address such as tcp://HOST:PORT")
        return self


def cluster_of(text: str) -> NamedCluster:
    """The cluster that a text names.

    Parameters
    ----------
    text : "local" or "local:N" for N processes here, "tcp://HOST:PORT" (or tls) of a scheduler, or a file in YAML or JSON
        with the fields of `NamedCluster`; the file of `dask scheduler --scheduler-file` is one too

    Raises
    ------
    InputError
        If it is none of these; names the file and the field.
    """
    here = _LOCAL.fullmatch(text)
    if here is not None:
        return _validated({"local": {} if here[1] is None else {"n_workers": here[1]}}, f"--cluster {text}")
    if _ADDRESS.fullmatch(text) is not None:
        return NamedCluster(address=text)
    path = Path(text)
    if not path.is_file():
        raise InputError(f"'{text}' is no cluster, and no file is called that: {_WHAT}")
    values = parse_yaml(read_text(path, "description of a cluster"), text)
    if isinstance(values, dict) and values.get("type") == "Scheduler":
        # What `dask scheduler` writes says more than where it is.
        values = {"address": values.get("address")}
    return _validated(values, text)


def _validated(values: object, source: str) -> NamedCluster:
    try:
        return NamedCluster.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{source}{place and f': {place}'}: {first['msg']}: {_WHAT}") from error
