"""How long a test waits for what comes at once: a machine may have other work, and only a fault takes as long."""

PATIENCE_SECONDS = 120
PATIENCE = 1000 * PATIENCE_SECONDS
