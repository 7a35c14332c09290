"""Golden stories: the one format that the kinds and the phases share, and the teller that compares them."""
