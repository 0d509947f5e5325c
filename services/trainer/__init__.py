"""The trainer: the job queue, the worker and the training engine."""
