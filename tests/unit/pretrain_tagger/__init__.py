"""Tests of the recipe of the drawn tagger."""
