"""Imaris files (`.ims`): HDF5 with a layout of its own."""
