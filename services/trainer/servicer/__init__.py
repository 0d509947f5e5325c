"""The trainer's two gRPC services: parse, call, map.

training   for callers
worker     for GPU workers inside the deployment
"""

from __future__ import annotations

import grpc
from fiveshot.trainer.v1 import training_service_pb2, worker_service_pb2
from fiveshot.trainer.v1.training_service_pb2_grpc import add_TrainingServiceServicer_to_server
from fiveshot.trainer.v1.worker_service_pb2_grpc import add_WorkerServiceServicer_to_server

from services.trainer.servicer.training import TrainingServicer
from services.trainer.servicer.worker import WorkerServicer

SERVICE_NAMES = (
    training_service_pb2.DESCRIPTOR.services_by_name["TrainingService"].full_name,
    worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name,
)


def add_to_server(training: TrainingServicer, worker: WorkerServicer, server: grpc.aio.Server) -> None:
    """Both services, for callers and for workers."""
    add_TrainingServiceServicer_to_server(training, server)
    add_WorkerServiceServicer_to_server(worker, server)
