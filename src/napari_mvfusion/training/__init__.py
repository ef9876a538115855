"""Training of generators: samples, losses, and a loop that is a generator of events."""
