"""Data sets: one file per layout on disk."""
