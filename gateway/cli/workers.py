"""`fiveshot workers`: who trains, and what waits, in all projects."""

from __future__ import annotations

import typer
from fiveshot.trainer.v1 import training_service_pb2 as pb

from gateway.cli import output
from gateway.cli.session import Session


def workers(ctx: typer.Context) -> None:
    """Show the workers and the queue of all projects; for keys with access to all of them."""
    session: Session = ctx.obj
    found = session.trainer.ListWorkers(pb.ListWorkersRequest()).workers
    queue = session.trainer.GetTrainingQueue(pb.GetTrainingQueueRequest())
    if session.json:
        output.print_json({"workers": [output.to_json(each) for each in found], "queue": output.to_json(queue)})
        return
    rows = (
        (each.worker_id, "training" if each.training_job else "idle", each.device,
         output.size(each.device_memory_bytes) if each.device_memory_bytes else "",
         ", ".join(name for name in each.mixed_precisions if name != "no"), each.training_job,
         ", ".join(output.short(name) for name in each.base_models), output.when(each.last_seen_time))
        for each in found
    )  # fmt: skip
    if found:
        output.table(("worker", "state", "device", ">memory", "formats", "job", "base models", "last seen"), rows)
    else:
        output.say("No worker is there.")
    output.say(f"\n{queue.waiting_jobs} jobs wait, {queue.active_jobs} are at work.")
    if queue.projects:
        shares = ((each.project, each.waiting_jobs, each.active_jobs) for each in queue.projects)
        output.table(("project", ">waiting", ">at work"), shares)
