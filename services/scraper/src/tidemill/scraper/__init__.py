"""Follows pages that are found by searching: asks for those with a reason, and says what is new, changed and gone."""
