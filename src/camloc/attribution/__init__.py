"""Attribution: which places of an image speak for a class. One method per file, and the way to score maps."""
