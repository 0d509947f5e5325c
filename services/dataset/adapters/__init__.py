"""The ports of this service on real databases and object stores."""
