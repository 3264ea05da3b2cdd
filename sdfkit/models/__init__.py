"""Neural networks, noise schedules and positional encodings."""
