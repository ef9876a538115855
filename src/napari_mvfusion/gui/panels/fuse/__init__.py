"""The Fuse panel: choose views, methods and output, look at a preview, start, watch, cancel."""
