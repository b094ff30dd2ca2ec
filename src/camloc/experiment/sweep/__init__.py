"""Sweeps: every job of ``-m`` is a process tree of its own, and one table says how they did."""
