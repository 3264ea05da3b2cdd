"""How texts are set in pictures."""
