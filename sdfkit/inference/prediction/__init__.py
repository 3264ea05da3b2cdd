"""Models that predict shapes from images or features: loading, sampling, refinement."""
