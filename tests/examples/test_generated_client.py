"""A client that openapi-python-client generates from the document that a stack serves, and calls made by it.

`make test-examples` puts the generator into an environment of its own, which OPENAPI_CLIENT_ENV names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.patience import until
from tests.fixtures.pretending import five_photos, pretending_stack
from tests.fixtures.processes import finished
from tests.fixtures.quickstart import ROOT, environment
from tests.fixtures.running_stack import RunningStack

BIN = Path(os.environ.get("OPENAPI_CLIENT_ENV", ROOT / ".venv-openapi-client")) / "bin"
pytestmark = pytest.mark.skipif(not BIN.exists(), reason="the generator is not here: make test-examples")

PROGRAM = """
import os, sys
from pathlib import Path
from made import Client
from made.api.dataset_service import create_dataset, get_image_content, list_images, upload_image_content
from made.api.training_service import create_training_job
from made.models import CreateDatasetBody, CreateTrainingJobBody, Dataset, Status, TrainingJob, TrainingParameters
from made.types import File

client = Client(f"http://{os.environ['FIVESHOT_SERVER']}", headers={"x-api-key": os.environ["FIVESHOT_API_KEY"]})
made = create_dataset.sync("default", client=client,
    body=CreateDatasetBody(dataset_id="generated", dataset=Dataset(trigger_word="sks")))
assert made.name == "projects/default/datasets/generated", made
for path in sorted(Path(sys.argv[1]).iterdir()):
    with path.open("rb") as file:
        image = upload_image_content.sync("default", "generated", client=client, body=File(file), file_name=path.name)
    assert image.file_name == path.name, image
images = list_images.sync("default", "generated", client=client, page_size=3, filter_='file_name != "0.png"').images
assert [each.file_name for each in images] == ["1.png", "2.png", "3.png"], images
again = get_image_content.sync("default", "generated", images[0].name.rpartition("/")[2], client=client)
assert again.payload.read() == (Path(sys.argv[1]) / "1.png").read_bytes()
refused = create_dataset.sync("default", client=client, body=CreateDatasetBody(dataset_id="generated"))
assert isinstance(refused, Status) and refused.details[0].reason, refused
job = create_training_job.sync("default", client=client, body=CreateTrainingJobBody(training_job_id="generated",
    training_job=TrainingJob(base_model="baseModels/fiveshot-tiny", dataset_version=made.name,
        parameters=TrainingParameters(num_epochs=2))))
assert job.total_steps.isdecimal(), job
print(job.name)
"""
DONE = """
import os
from made import Client
from made.api.training_service import list_epochs
client = Client(f"http://{os.environ['FIVESHOT_SERVER']}", headers={"x-api-key": os.environ["FIVESHOT_API_KEY"]})
epochs = list_epochs.sync("default", "generated", client=client).epochs
assert [each.pretended for each in epochs] == [True, True], epochs
assert epochs[0].previews[0].width > 0
"""


@pytest.fixture(scope="module")
def pretending() -> Iterator[RunningStack]:
    with pretending_stack() as stack:
        yield stack


async def test_the_generated_client_makes_the_calls_of_the_main_job(pretending: RunningStack, tmp_path: Path) -> None:
    photos = five_photos(tmp_path / "photos")
    address = f"http://{pretending.server}/openapi.json"
    command: list[str | Path] = [
        BIN / "openapi-python-client", "generate", "--url", address, "--meta", "none", "--fail-on-warning",
        "--output-path", tmp_path / "made",
    ]  # fmt: skip
    env = environment(pretending, PATH=f"{BIN}:{os.environ['PATH']}")
    made = finished(command, env=env, cwd=tmp_path)
    assert made.returncode == 0, made.stdout + made.stderr
    done = finished([BIN / "python", "-c", PROGRAM, photos], env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    async def ended() -> bool:
        _, job = await pretending.http("GET", f"/v1/{done.stdout.strip()}")
        return bool(job["state"] == "STATE_SUCCEEDED")

    await until(ended, what="the job to end")
    checked = finished([BIN / "python", "-c", DONE], env=env, cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
