"""Work off the GUI thread: runs of the engine, tasks, saving; how far they are, and what became of them."""
