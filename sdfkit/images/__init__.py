"""Meshes to views, views to features."""
