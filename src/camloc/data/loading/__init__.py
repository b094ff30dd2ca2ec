"""Splits, samplers and the data module that loads them."""
