"""The dataset service: stores photo sets, keeps their tags and captions, and freezes versions to train on."""
