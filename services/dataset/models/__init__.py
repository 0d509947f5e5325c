"""What a dataset is made of. Pure: no wire, no store, no clock."""
