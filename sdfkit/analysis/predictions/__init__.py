"""Judges predicted vectors by the training vectors and the true ones."""
