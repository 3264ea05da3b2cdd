"""Fitting of one small network per shape."""
