"""The worker process with the real engine, a real trainer and real stores."""
