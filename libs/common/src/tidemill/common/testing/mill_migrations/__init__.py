"""Tables of the mill."""
