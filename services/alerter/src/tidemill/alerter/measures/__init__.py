"""Values that are measured, round by round, and what each means."""
