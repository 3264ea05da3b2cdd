"""Training of DeepSDF decoders, and fitting of codes to a trained decoder."""
