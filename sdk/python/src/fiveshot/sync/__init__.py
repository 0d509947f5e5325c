"""The client for threads. Only `platform` is written by hand; the rest is made of `fiveshot.aio`."""
