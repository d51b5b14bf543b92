"""Copies a whole store to another."""
