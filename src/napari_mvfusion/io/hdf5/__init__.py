"""HDF5 files: a dataset in a file, named as `views.h5:/left/pixels`."""
