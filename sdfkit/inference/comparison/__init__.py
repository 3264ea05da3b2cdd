"""Predicted meshes compared with the true ones, and the baselines that they must beat."""
