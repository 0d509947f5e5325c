"""Finds tags for pictures: measured from the pixels, or predicted by models that say what they do not know."""
