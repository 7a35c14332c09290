"""``make bench-runners``: how fast runner pools answer, beside GitLab's own way, and what they ask of their servers."""
