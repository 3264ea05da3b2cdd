"""Rankings and statistics of sets of vectors."""
