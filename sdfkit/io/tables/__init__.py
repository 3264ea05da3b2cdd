"""Rows of stores, meshes and manifests: which are chosen, and how they are copied to another output."""
