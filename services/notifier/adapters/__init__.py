"""What stands behind the ports: SQL, JetStream and HTTP."""
