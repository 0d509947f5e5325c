"""The verbs of the notifier.

webhooks    webhooks and their secrets
receiving   events of the stream become deliveries
sending     deliveries that are due are sent, and what came of it is written down
deliveries  reading deliveries, sending them again, tests
signing     the headers of Standard Webhooks
upkeep      what has ended is forgotten
"""
