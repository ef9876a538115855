"""The Compare panel: methods side by side, by eye and by number."""
