"""The command line, `fiveshot`: one file a noun; everything it does goes through the gateway's public API."""

import os

# gRPC's own log says in many lines what the command says in one; it is read when grpc is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
