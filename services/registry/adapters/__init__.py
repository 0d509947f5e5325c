"""The registry's ports over SQL, S3 and the trainer's gRPC service."""
