"""What the registry keeps, its names and its rules."""
