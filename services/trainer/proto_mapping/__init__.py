"""Proto to model and back, nothing else.

parameters   what a job may set, and the specs that say so
jobs         jobs, attempts, estimates, base models
epochs       epochs, files, previews, points
events       events, as they are published and replayed
"""
