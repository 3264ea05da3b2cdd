"""What pictures share: how texts are set, and the formats of files."""
