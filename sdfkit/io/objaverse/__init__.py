"""Shapes of Objaverse: their labels, which of them to choose, and their files."""
