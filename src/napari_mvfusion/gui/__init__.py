"""The napari face: hooks of the manifest, conversions, and dock widgets."""
