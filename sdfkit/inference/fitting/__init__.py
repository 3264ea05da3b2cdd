"""Latent codes and small networks fitted to the samples of single shapes."""
