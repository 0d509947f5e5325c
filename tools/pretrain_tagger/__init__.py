"""Trains the tagger of the drawn world: scenes with facts, pictures from outside, a small network, its export."""
