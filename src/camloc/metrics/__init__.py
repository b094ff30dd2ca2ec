"""How well boxes fit: torchmetrics shells over pure formulas."""
