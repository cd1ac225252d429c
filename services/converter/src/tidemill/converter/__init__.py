"""Turns documents into versioned records."""
