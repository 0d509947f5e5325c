"""Proto to model and back, nothing else."""
