"""Drawn pictures of new subjects for the demo, with captions: no download, no font, the same on every machine."""

from gateway.demo_pictures.subjects import KINDS, TRIGGER_WORD, draw_subject

__all__ = ["KINDS", "TRIGGER_WORD", "draw_subject"]
