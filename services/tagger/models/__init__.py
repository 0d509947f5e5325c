"""What the tagger speaks about. Pure: no wire, no store, no clock."""
