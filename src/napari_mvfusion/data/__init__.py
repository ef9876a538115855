"""What everything reads: views on a grid, boxes and tiles, numbers of whole views, where they have data, and events."""
