"""Names from the server for the shell's completion; what cannot be reached completes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from fiveshot.connection import default_data_folder
from fiveshot.errors import FiveshotError

from gateway.cli.session import Session
from services.chassis.errors import DomainError

_LIMIT = 200


def _session(ctx: typer.Context) -> Session:
    """The connection that the command would have; while a shell completes, its root has not run."""
    given: dict[str, Any] = ctx.find_root().params
    data = Path(given.get("data") or default_data_folder())
    server, api_key, project = (str(given.get(key) or "") for key in ("server", "api_key", "project"))
    ca_file = Path(given["ca_file"]) if given.get("ca_file") else None
    return Session(server, api_key, project, ca_file=ca_file, data=data)


def _names(collection: str) -> Callable[[typer.Context, str], list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        # Late, because lookup reads the whole API and most commands complete nothing.
        from gateway.cli.lookup import names_in

        session = _session(ctx)
        try:
            found = names_in(session, collection, limit=_LIMIT)
        except (FiveshotError, OSError):
            return []
        finally:
            session.close()
        return [name.rsplit("/", 1)[-1] for name in found if name.rsplit("/", 1)[-1].startswith(incomplete)]

    return complete


datasets = _names("datasets")
jobs = _names("trainingJobs")
models = _names("models")
webhooks = _names("webhooks")
base_models = _names("baseModels")
tag_jobs = _names("tagJobs")
preview_requests = _names("previewRequests")


def captioners(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the deployment's captioners."""
    from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2

    session = _session(ctx)
    try:
        found = session.tagger.ListTaggers(tagger_service_pb2.ListTaggersRequest()).taggers
    except (FiveshotError, OSError):
        return []
    finally:
        session.close()
    names = [each.name.rsplit("/", 1)[-1] for each in found if each.kind == tagger_pb2.Tagger.KIND_CAPTIONS]
    return [name for name in names if name.startswith(incomplete)]


def keys(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of the API keys of the local stack."""
    from gateway import api_keys
    from gateway.supervisor.folder import DataFolder

    try:
        known = api_keys.load(DataFolder(_session(ctx).data).api_keys_file)
    except (DomainError, OSError, ValueError):
        return []
    return [each.id for each in known if each.id.startswith(incomplete)]


def image_files(ctx: typer.Context, incomplete: str) -> list[str]:
    """File names of the dataset that stands before."""
    from fiveshot.dataset.v1 import dataset_service_pb2 as pb

    session = _session(ctx)
    try:
        request = pb.ListImagesRequest(parent=session.name("datasets", str(ctx.params.get("dataset") or "")))
        found = session.dataset.ListImages(request).images
    except (FiveshotError, OSError):
        return []
    finally:
        session.close()
    return [each.file_name for each in found if each.file_name.startswith(incomplete)]
