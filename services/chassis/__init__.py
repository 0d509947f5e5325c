"""The frame that every service bolts onto: errors, transport, settings, logging and storage.

No word of the product's domain appears here, and nothing here imports a service.
"""
