"""What the notifier keeps and decides, pure.

webhooks     where events go, what they are filtered by, and what may be changed
event_types  every type of event that there is, and how a filter names them
deliveries   an event on its way: attempts, pauses, when it is given up and when its webhook is
addresses    which addresses events may be sent to
"""
