"""The verbs of the registry.

repositories  models and aliases
versions      reading versions and their files
save_epoch    a training job's epoch becomes a version
model_card    the Markdown that goes with a version
checked       bytes are compared with their digest on every way in and out
sweeping      removes files that a crash left without a version
"""
