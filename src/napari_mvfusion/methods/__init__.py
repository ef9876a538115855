"""Fusion methods by name."""
