"""From score maps to boxes."""
