"""Meshes, distances and metrics: numpy in, numpy and trimesh out."""
