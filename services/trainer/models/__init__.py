"""What the trainer's control plane talks about, pure Python.

job      a training job, its attempts and its lease
epoch    a finished epoch, its files and what was measured
events   what happened to a job
moves    every change of a job's state, as functions from a job to a `Change`
queue    who goes next, at which place in the queue, and when it should end
base     a base model as callers see it, and estimates
"""
