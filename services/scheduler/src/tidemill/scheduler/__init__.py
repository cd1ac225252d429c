"""Fires each slot once, keeps the run ledger, obeys whoever stops, pauses or asks for a run."""
