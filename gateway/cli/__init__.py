"""The command line, `fiveshot`: one file a noun; everything it does goes through the gateway's public API."""
