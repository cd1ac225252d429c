"""Tells the right person once, soon, with the cause."""
