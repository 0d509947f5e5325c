"""The trainer's two gRPC services: parse, call, map.

training   for callers
worker     for GPU workers inside the deployment
"""
