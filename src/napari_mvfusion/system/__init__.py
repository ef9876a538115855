"""The machine: devices, locks, files before they are opened, and errors that nobody foresaw."""
