"""Messages of fiveshot.dataset.v1 to models and back, nothing else."""
