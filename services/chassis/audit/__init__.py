"""Who changed what, and who was refused: records that are written with the change and handed to the registry."""
