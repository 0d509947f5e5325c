"""Lists: what a caller may ask of one, how the question is read, and the page that answers it.

fields    what a list can be filtered by: types, spellings, operators
filters   the AIP-160 language: text to a tree
pages     a list with its order and its page tokens
memory    the answer out of objects in memory
sql       the answer out of a table; the only module here that knows SQL
"""
