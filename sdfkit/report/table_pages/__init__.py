"""Pages with one table, whose cells are texts, numbers and pictures."""
