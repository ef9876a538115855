"""The four panels of the plugin."""
