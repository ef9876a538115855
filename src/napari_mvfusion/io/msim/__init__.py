"""Registered views as multiview-stitcher keeps them: an msim zarr each."""
