"""Methods x networks from runs: ``camloc leaderboard``."""
