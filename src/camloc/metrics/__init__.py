"""How good predictions are: protocols as torchmetrics Metrics over pure formulas."""
