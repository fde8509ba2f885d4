"""Imports weights that were trained elsewhere, and evaluates them."""
