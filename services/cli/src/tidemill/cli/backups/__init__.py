"""Backups: what is copied in which order, how it lies in its folder, and how it is put back."""
