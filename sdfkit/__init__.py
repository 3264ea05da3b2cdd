"""Small programs, joined by pipes, from messy meshes to a model that turns an image into a 3-D shape."""

__version__ = "0.1.0"
