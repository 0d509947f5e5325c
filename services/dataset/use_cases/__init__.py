"""The verbs of the service, a class for each group. They get ports and plain values, and raise DomainErrors."""
