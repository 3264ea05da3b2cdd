"""Refinement of latent codes: codes move until decoded silhouettes agree with posed images."""
