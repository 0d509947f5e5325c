"""Pretraining of fiveshot-tiny, the small base model that Fiveshot ships. No service imports this package."""
