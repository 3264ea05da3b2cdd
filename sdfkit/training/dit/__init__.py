"""Training of denoisers of latent codes and of network weights."""
