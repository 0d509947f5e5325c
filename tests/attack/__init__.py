"""Long forms: everything that is known to break such services, tried on the real parts. `make attack`."""
