"""The verbs of the tagger. They know no wire, no store and no model."""
