"""Folders of pictures with cameras: transforms.json and COLMAP's text model."""
