"""Score maps in, boxes out."""
