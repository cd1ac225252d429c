"""Alembic revisions of the schema `converter`."""
