"""Configuration to objects to a run to files; the only room that knows Hydra."""
