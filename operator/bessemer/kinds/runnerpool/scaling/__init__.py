"""How many runner pods a pool gets, and which ones end: pure."""
