"""Counts the work of base models for the estimates: `python -m tools.model_costs`."""
