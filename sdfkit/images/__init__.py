"""Rendering of meshes, preparation of photos, and encoding of images and captions into feature vectors."""
