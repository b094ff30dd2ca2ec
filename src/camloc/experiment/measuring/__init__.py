"""From predictions to numbers: every protocol of a split counted in one pass over its batches."""
