"""The digest of a volume that recipes know it by."""

from __future__ import annotations

import hashlib

import numpy as np

from napari_mvfusion.data.field_of_view import VolumeLike


def volume_sha256(volume: VolumeLike) -> str:
    """SHA-256 of a volume's shape and float32 values, read plane by plane."""
    found = hashlib.sha256(str(tuple(volume.shape)).encode())
    for z in range(volume.shape[0]):
        found.update(np.ascontiguousarray(volume[z], np.float32).tobytes())
    return found.hexdigest()
