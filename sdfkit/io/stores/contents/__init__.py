"""Readers of stores by content: samples, views, vectors, trajectories."""
