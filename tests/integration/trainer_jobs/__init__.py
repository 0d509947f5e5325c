"""The trainer's control plane with its real stores, and simulated workers."""
