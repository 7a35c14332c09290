"""The client of boot servers: stage, withdraw, and the journal of what machines fetched and reported."""
