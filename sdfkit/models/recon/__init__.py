"""The network that reconstructs distances from images with known cameras."""
