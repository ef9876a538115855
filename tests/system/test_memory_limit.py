"""A limit of the process on its memory counts as the memory of the machine does."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIMITED = """
import resource, sys
import psutil, torch
from napari_mvfusion.system.devices import free_bytes
before = free_bytes(torch.device("cpu"))
limit = psutil.Process().memory_info().vms + 2**28
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(before > 2**28, free_bytes(torch.device("cpu")) <= 2**28, free_bytes(torch.device("cpu")) > 2**26)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.long
def test_what_a_batch_system_allows_is_all_that_is_free() -> None:
    run = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True"] * 3
