"""Trained models applied to data: prediction, meshing, scores and robustness."""
