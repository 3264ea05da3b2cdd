"""Trained networks in stores, and the runs that write them."""
