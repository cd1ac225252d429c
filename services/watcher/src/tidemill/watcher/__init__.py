"""Takes files that appear in a folder, once, and keeps their bytes."""
