"""The engine: plans a run, goes over stages and tiles, keeps what is finished, puts result and recipe in place."""
