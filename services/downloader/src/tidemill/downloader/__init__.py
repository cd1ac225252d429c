"""Fetches files that changed, and keeps their bytes."""
