"""OME-Zarr 0.4 and 0.5: read lazily, written with their levels, and weighed before anything is decoded."""
