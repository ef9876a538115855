"""How long a test waits for what comes by itself: a machine may have a lot of other work; only a fault takes as long."""

PATIENCE_SECONDS = 600
PATIENCE = 1000 * PATIENCE_SECONDS
