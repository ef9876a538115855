"""Between napari layers and what the core reads: conversions, notes, lists of views."""
