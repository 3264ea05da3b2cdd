"""Networks, noise schedules, encodings."""
