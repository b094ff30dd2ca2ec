"""Records to files that other tools read: one file per format."""
