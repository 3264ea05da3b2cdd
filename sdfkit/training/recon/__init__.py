"""Training of networks that reconstruct shapes from images with known cameras."""
