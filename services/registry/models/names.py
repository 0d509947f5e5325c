"""Names of models, versions and epochs, and the ids of a version's files."""

from __future__ import annotations

from services.chassis.errors import InvalidArgument
from services.chassis.names import ResourceName

LATEST = "latest"
KOHYA = "kohya"
DIFFUSERS = "diffusers"
PEFT = "peft"
# The settings that PEFT reads from beside such a file.
PEFT_CONFIG = "peft-config"
CONTACT_SHEET = "contact-sheet"
PROJECT_NAME = ResourceName("projects/{project}")
MODEL_NAME = ResourceName("projects/{project}/models/{model}")
JOB_NAME = ResourceName("projects/{project}/trainingJobs/{training_job}")


def version_name(project: str, model_id: str, number: int) -> str:
    """Version ids are numbers, so they do not follow the rule for ids."""
    return f"{MODEL_NAME.format(project=project, model=model_id)}/versions/{number}"


def parse_version_name(name: str) -> tuple[str, str, int | str]:
    """Project, model id, and number or alias of a version's name. Raises InvalidArgument."""
    parent, separator, selector = name.rpartition("/versions/")
    ids = MODEL_NAME.parse(parent if separator else name)
    return ids["project"], ids["model"], int(selector) if selector.isdecimal() else selector


def parse_epoch_name(name: str) -> tuple[str, str, int]:
    """Project, the training job's name and the number of an epoch's name. Raises InvalidArgument."""
    job, separator, number = name.rpartition("/epochs/")
    ids = JOB_NAME.parse(job if separator else name, field="epoch")
    if not number.isdecimal():
        raise InvalidArgument(
            f"'{number[:20]}' is not the number of an epoch",
            field="epoch",
            reason="NAME_INVALID",
            remedy="Copy the name of an epoch from the list of the job's epochs.",
        )
    return ids["project"], job, int(number)
