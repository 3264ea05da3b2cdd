"""Stores as zip archives: on a pipe, read while they are written, and in files."""
