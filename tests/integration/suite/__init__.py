"""The suite's own promises: what a test starts is ended, whatever becomes of the test."""
