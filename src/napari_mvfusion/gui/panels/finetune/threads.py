"""How many processor threads a run takes while somebody looks at the window."""

from __future__ import annotations

import torch

from napari_mvfusion.system.devices import pick_device


def beside_a_window(wanted: int, device: str) -> int:
    """Threads of a run.

    The window is drawn by a processor too, with software rendering all of it: a run that takes every core makes it
    wait.

    Parameters
    ----------
    wanted : what the user prefers, or 0
    device : as for `napari_mvfusion.training.train`

    Returns
    -------
    What the user prefers; else, on a CPU, one less than torch would take, and 0, which is what torch takes, elsewhere.

    Raises
    ------
    DeviceError
        If there is no such device.
    """
    if wanted or pick_device(device).type != "cpu":
        return wanted
    return max(1, torch.get_num_threads() - 1)
