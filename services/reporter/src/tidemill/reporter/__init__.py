"""Says what a day brought, and how far it can be trusted."""
