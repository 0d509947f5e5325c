"""Projects of fiveshot.dataset.v1 to models and back."""

from __future__ import annotations

from fiveshot.dataset.v1 import dataset_service_pb2

from services.chassis.listing.pages import ListRequest
from services.dataset.use_cases.projects import ProjectPage


def projects_request(request: dataset_service_pb2.ListProjectsRequest) -> ListRequest:
    """A list call, which has no parent."""
    return ListRequest(parent="", page_size=request.page_size, page_token=request.page_token)


def projects_proto(page: ProjectPage) -> dataset_service_pb2.ListProjectsResponse:
    """A page of projects."""
    found = [
        dataset_service_pb2.Project(name=f"projects/{each.id}", dataset_count=each.datasets) for each in page.projects
    ]
    return dataset_service_pb2.ListProjectsResponse(
        projects=found, next_page_token=page.next_page_token, total_size=page.total, all_projects=page.all_projects
    )
