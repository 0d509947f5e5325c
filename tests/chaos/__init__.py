"""Parts of the suite are killed while they work; afterwards nothing may be lost, doubled or left over."""
