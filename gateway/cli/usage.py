"""`fiveshot usage`: what the project uses of its budgets, of all services together."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from fiveshot.dataset.v1 import dataset_service_pb2
from fiveshot.notifier.v1 import notifier_service_pb2
from fiveshot.registry.v1 import registry_service_pb2
from fiveshot.trainer.v1 import training_service_pb2
from fiveshot.usage.v1 import usage_pb2

from gateway.cli import output
from gateway.cli.session import Session

_BAR = 20


def usage(ctx: typer.Context) -> None:
    """Show what the project uses of its budgets, and the limit of each."""
    session: Session = ctx.obj
    budgets = [budget for answer in _answers(session) for budget in answer.budgets]
    if session.json:
        output.print_json({"project": session.parent, "budgets": [output.to_json(budget) for budget in budgets]})
        return
    rows = ((_name(each), _amount(each, each.used), _limit(each), _share(each)) for each in budgets)
    output.table(("budget", ">in use", ">limit", "share"), rows, title=session.parent)


def _answers(session: Session) -> Iterator[usage_pb2.Usage]:
    name = session.parent
    yield session.dataset.GetUsage(dataset_service_pb2.GetUsageRequest(name=f"{name}/datasetUsage"))
    yield session.trainer.GetUsage(training_service_pb2.GetUsageRequest(name=f"{name}/trainingUsage"))
    yield session.registry.GetUsage(registry_service_pb2.GetUsageRequest(name=f"{name}/modelUsage"))
    yield session.notifier.GetUsage(notifier_service_pb2.GetUsageRequest(name=f"{name}/webhookUsage"))


def _name(budget: usage_pb2.BudgetUse) -> str:
    words = budget.budget.replace("_", " ").replace("gpu", "GPU")
    if not budget.HasField("window"):
        return words
    hours = budget.window.ToTimedelta().total_seconds() / 3600
    return f"{words}, last {hours:g} h"


def _amount(budget: usage_pb2.BudgetUse, number: int) -> str:
    match budget.unit:
        case "bytes":
            return output.size(number)
        case "seconds":
            return output.duration(number)
        case _:
            return f"{number:,}"


def _limit(budget: usage_pb2.BudgetUse) -> str:
    return _amount(budget, budget.limit) if budget.limit else "none"


def _share(budget: usage_pb2.BudgetUse) -> str:
    if not budget.limit:
        return ""
    share = min(1.0, budget.used / budget.limit)
    filled = round(share * _BAR)
    return f"{'█' * filled}{'░' * (_BAR - filled)} {share:.0%}"
