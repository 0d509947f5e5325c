"""Webhooks: events of a project, sent to the addresses that the project names."""
