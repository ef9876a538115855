"""TIFF: ImageJ, OME and plain files, one volume or several, read lazily and written in bounded memory."""
