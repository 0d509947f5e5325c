"""Requests that may be repeated (https://google.aip.dev/155): the same request_id gives the same answer.

A use case recalls before it acts and remembers in the same write transaction, so a repeated call finds either the
whole of what the first one did or nothing.

keys   what makes a request recognisable: its id and a digest of what it asks for
sql    the table of remembered requests
"""
