"""What the Python client does with lost answers, refused calls and pages, against a real server; both clients."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fiveshot import AsyncClient, Client, errors
from fiveshot.connection import Patience
from fiveshot.dataset.v1 import dataset_service_pb2 as pb

from services.chassis import errors as domain
from tests.fakes.small_api import SmallApi, State, lost, small_api
from tests.fixtures.cut_line import CutLine

QUICK = Patience(attempts=3, first_pause_s=0.001, longest_pause_s=0.01)


@pytest.fixture
def api() -> Iterator[SmallApi]:
    with small_api(last=25) as made:
        yield made


@pytest.fixture
def client(api: SmallApi) -> Iterator[Client]:
    with Client(api.address, api_key="fs_key", patience=QUICK) as made:
        yield made


def test_a_create_whose_answer_was_lost_is_made_again_as_the_same_request(api: SmallApi, client: Client) -> None:
    api.dataset.failures = [lost(), lost()]
    made = client.datasets.create("cat", trigger="sks", subject="gray cat")
    assert (made.name, made.id, made.trigger_word, made.subject) == (
        "projects/default/datasets/cat", "cat", "sks", "gray cat",
    )  # fmt: skip
    assert len(api.dataset.request_ids) == 3
    assert len(set(api.dataset.request_ids)) == 1
    assert api.dataset.request_ids[0].startswith("py-")
    assert api.dataset.metadata[0]["x-api-key"] == "fs_key"
    client.datasets.create("dog")
    assert len(set(api.dataset.request_ids)) == 2


def test_a_message_of_the_caller_is_not_changed(client: Client) -> None:
    request = pb.CreateDatasetRequest(parent="projects/default", dataset_id="cat")
    client.stubs.dataset.CreateDataset(request)
    assert request.request_id == ""


def test_attempts_end_and_the_last_error_is_raised(api: SmallApi, client: Client) -> None:
    api.dataset.failures = [lost()] * 3
    with pytest.raises(errors.Unavailable) as raised:
        client.datasets.create("cat")
    assert raised.value.message == "gone"
    assert len(api.dataset.request_ids) == 3


def test_an_answer_is_not_asked_for_again(api: SmallApi, client: Client) -> None:
    api.dataset.failures = [domain.NotFound("There is none", reason="DATASET_NOT_FOUND")]
    with pytest.raises(errors.NotFound):
        client.datasets.create("cat")
    assert len(api.dataset.request_ids) == 1


def test_a_server_that_says_when_to_come_back_is_taken_at_its_word(api: SmallApi) -> None:
    waits = [domain.ResourceExhausted("Too much at once", retry_after_s=0.02), lost(retry_after_s=0.03)]
    paused: list[float | None] = []

    class Noting(Patience):
        def pause(self, error: errors.FiveshotError, attempt: int, left_s: float | None) -> float | None:
            paused.append(super().pause(error, attempt, left_s))
            return paused[-1]

    with Client(api.address, patience=Noting()) as client:
        api.dataset.failures = list(waits)
        client.datasets.create("cat")
        assert paused == [0.02, 0.03]
        # It would come back after the caller's deadline: no use to wait.
        api.dataset.failures = [lost(retry_after_s=1000)]
        with pytest.raises(errors.Unavailable):
            client.datasets.create("cat")


def test_every_call_has_a_deadline_over_all_its_attempts(api: SmallApi) -> None:
    # On the wire a deadline is rounded, the coarser the longer it is.
    with Client(api.address, timeout=5, patience=QUICK) as client:
        api.dataset.failures = [lost(retry_after_s=0.3)]
        client.datasets.create("cat")
    first, second = api.dataset.deadlines
    assert first is not None
    assert second is not None
    assert second < first - 0.1 < 5


def test_an_error_is_typed_and_says_field_and_remedy(api: SmallApi, client: Client) -> None:
    wrong = domain.InvalidArgument(
        "The word is too long", field="dataset.trigger_word", reason="REQUEST_INVALID", remedy="Shorten it.",
        metadata={"limit": "40"}, quotas=[domain.QuotaViolation("projects/a", "used up")],
    )  # fmt: skip
    api.dataset.failures = [wrong]
    with pytest.raises(errors.InvalidArgument) as raised:
        client.datasets.create("cat")
    error = raised.value
    assert (error.reason, error.field, error.remedy, error.metadata) == (
        "REQUEST_INVALID", "dataset.trigger_word", "Shorten it.", {"limit": "40"},
    )  # fmt: skip
    assert str(error) == "The word is too long. Shorten it. [REQUEST_INVALID; field dataset.trigger_word]"
    assert error.quotas == (errors.QuotaViolation("projects/a", "used up"),)
    assert error.__suppress_context__
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), copied.facts()) == (type(error), error.facts())


def test_a_server_that_is_not_there_is_named_as_such() -> None:
    with Client("127.0.0.1:1", patience=QUICK) as client, pytest.raises(errors.Unavailable) as raised:
        client.datasets.get("cat")
    told = "The server at 127.0.0.1, port 1, does not answer"
    assert (raised.value.reason, raised.value.message) == ("NO_CONNECTION", told)


def test_a_method_that_the_server_lacks_is_unimplemented(client: Client) -> None:
    with pytest.raises(errors.Unimplemented) as raised:
        client.models.get("toy")
    assert raised.value.remedy


def test_the_sync_watch_sees_every_event_once_over_twenty_cut_lines(api: SmallApi) -> None:
    with CutLine(api.address) as line, Client(line.address, patience=Patience(first_pause_s=0.01)) as client:
        seen = []
        api.trainer.state = State.STATE_SUCCEEDED
        job = client.jobs.get("job-1")
        for update in job.watch():
            seen.append(update)
            if len(seen) <= 20:
                line.break_now()
            api.trainer.allow(len(seen))
    _is_whole(seen, api)
    assert job.state == "succeeded"


async def test_the_async_watch_sees_every_event_once_over_twenty_cut_lines(api: SmallApi) -> None:
    with CutLine(api.address) as line:
        async with AsyncClient(line.address, patience=Patience(first_pause_s=0.01)) as client:
            seen = []
            api.trainer.state = State.STATE_SUCCEEDED
            job = await client.jobs.get("job-1")
            async for update in job.watch():
                seen.append(update)
                if len(seen) <= 20:
                    line.break_now()
                api.trainer.allow(len(seen))
    _is_whole(seen, api)
    assert job.state == "succeeded"


def _is_whole(seen: list[Any], api: SmallApi) -> None:
    assert [update.message.event.sequence for update in seen] == list(range(26))
    assert api.trainer.watches >= 21
    assert (seen[0].kind, seen[0].state, seen[0].loss, seen[0].eta) == ("job", "queued", None, None)
    assert (seen[4].step, seen[4].total_steps, seen[4].loss, str(seen[4].eta)) == (4, 25, 0.25, "0:00:21")
    # What the last one does not say is as it was before.
    assert (seen[-1].kind, seen[-1].state, seen[-1].step, seen[-1].eta) == ("state", "succeeded", 24, None)


def test_a_watch_ends_when_its_server_stays_away(api: SmallApi) -> None:
    with CutLine(api.address) as line:
        client = Client(line.address, patience=Patience(reconnect_s=0, first_pause_s=0.001))
        watch = client.jobs.get("job-1").watch()
        assert next(watch).kind == "job"
    with pytest.raises(errors.Unavailable):
        list(watch)
    client.close()


def test_a_job_that_failed_raises_its_own_reason_and_remedy(api: SmallApi, client: Client) -> None:
    api.trainer.state = State.STATE_FAILED
    api.trainer.allow(25)
    with pytest.raises(errors.FailedPrecondition) as raised:
        client.jobs.get("job-1").wait()
    assert (raised.value.reason, raised.value.remedy) == ("OUT_OF_MEMORY", "Lower the rank.")


def test_parameters_of_a_job_are_checked_by_name_before_it_is_created(api: SmallApi, client: Client) -> None:
    dataset = client.datasets.get("cat")
    job = dataset.train(epochs=5, prompts=["sks cat on a beach"], rank=8, labels={"team": "a"})
    sent = api.trainer.created[0].training_job
    assert (sent.parameters.num_epochs, sent.parameters.rank, list(sent.parameters.preview_prompts)) == (
        5, 8, ["sks cat on a beach"],
    )  # fmt: skip
    assert (sent.dataset_version, dict(sent.labels), job.state) == (dataset.name, {"team": "a"}, "queued")
    with pytest.raises(errors.InvalidArgument) as raised:
        dataset.train(epochs=5, rnak=8, alpha="much")
    assert [violation.field for violation in raised.value.violations] == ["rnak", "alpha"]
    assert "did you mean rank?" in raised.value.violations[0].description
    assert [request.validate_only for request in api.trainer.created] == [False, True]


def test_many_threads_share_a_client(api: SmallApi, client: Client) -> None:
    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(client.datasets.create, f"d{n}") for n in range(20)))

    assert {made.id for made in asyncio.run(all_at_once())} == {f"d{n}" for n in range(20)}


def test_tls_trusts_the_certificates_that_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = _self_signed()
    (tmp_path / "ca.pem").write_bytes(certificate)
    with small_api(credentials=grpc.ssl_server_credentials([(key, certificate)])) as api:
        server = f"https://localhost:{api.address.rpartition(':')[2]}"
        monkeypatch.setenv("FIVESHOT_CA_FILE", str(tmp_path / "ca.pem"))
        with Client(server, api_key="fs_key", patience=QUICK) as client:
            assert client.datasets.get("cat").id == "cat"
        monkeypatch.delenv("FIVESHOT_CA_FILE")
        with Client(server, patience=QUICK) as stranger, pytest.raises(errors.Unavailable) as refused:
            stranger.datasets.get("cat")
    assert refused.value.reason == "NO_CONNECTION"


def _self_signed() -> tuple[bytes, bytes]:
    """Key and certificate of localhost, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begins = datetime(2020, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, made.public_bytes(serialization.Encoding.PEM)
