"""Renderings of a report: pure functions of its JSON, one module a form."""
