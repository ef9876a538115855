"""Multi-view fusion of light-sheet microscopy volumes."""
