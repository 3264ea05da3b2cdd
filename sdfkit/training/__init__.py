"""One readable loop per model."""
