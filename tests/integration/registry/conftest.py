"""Fixtures of the registry's integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceStub

from services.chassis.grpc_server import start_server
from services.chassis.s3 import ObjectStore
from services.chassis.settings import BaseServiceSettings
from services.chassis.store_settings import S3Settings
from services.registry.settings import Settings
from tests.fakes.trainer_service import NAME as TRAINER_NAME
from tests.fakes.trainer_service import FakeTrainer
from tests.integration.registry.running import Running, serving


@pytest.fixture
async def running(s3_settings: S3Settings, object_store: ObjectStore, database_url: str) -> AsyncIterator[Running]:
    trainer = FakeTrainer()  # type: ignore[abstract]
    async with start_server(BaseServiceSettings(), trainer.register, service_names=[TRAINER_NAME]) as trainer_server:
        settings = Settings(
            **s3_settings.model_dump(),
            database_url=database_url,
            trainer_target=trainer_server.target,
        )
        async with serving(settings) as connection:
            yield Running(RegistryServiceStub(connection), trainer, object_store)


@pytest.fixture
async def small(
    s3_settings: S3Settings, object_store: ObjectStore, database_url: str, tmp_path: Path
) -> AsyncIterator[Running]:
    """A registry in which the project may keep two versions and a model."""
    budgets = tmp_path / "budgets.toml"
    budgets.write_text("[projects.pets]\nmodels = 1\nmodel_versions = 2\n", encoding="utf-8")
    trainer = FakeTrainer()  # type: ignore[abstract]
    async with start_server(BaseServiceSettings(), trainer.register, service_names=[TRAINER_NAME]) as trainer_server:
        settings = Settings(
            **s3_settings.model_dump(),
            database_url=database_url,
            trainer_target=trainer_server.target,
            budgets_file=budgets,
        )
        async with serving(settings) as connection:
            yield Running(RegistryServiceStub(connection), trainer, object_store)
