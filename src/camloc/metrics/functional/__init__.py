"""Pure formulas behind the metrics."""
