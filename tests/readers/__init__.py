"""How other tools apply the files that we export, rule by rule: which key means which weight, and what is added to it.

Each module names the source file whose rule it follows, and is written from that rule, not from our exporter. Weights
go by ``component.module`` with the names of diffusers and transformers, whatever a tool calls them.
"""
