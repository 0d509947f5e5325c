"""Training parameters and their specs. Fields are mapped by name: proto and model spell them alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from fiveshot.trainer.v1 import base_model_pb2, training_job_pb2

from services.trainer.models.base import OfferedModel
from services.trainer.recipe.buckets import bucket_shapes
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.families import families
from services.trainer.recipe.parameter_spec import ParameterSpec, ParameterValue
from services.trainer.recipe.parameters import TrainingParameters

FIELD_NAMES = frozenset(field.name for field in training_job_pb2.TrainingParameters.DESCRIPTOR.fields)
_MAPPED = FIELD_NAMES & {field.name for field in fields(TrainingParameters)}
_SPEC_TYPES = {
    "int": base_model_pb2.ParameterSpec.TYPE_INTEGER,
    "float": base_model_pb2.ParameterSpec.TYPE_NUMBER,
    "bool": base_model_pb2.ParameterSpec.TYPE_BOOLEAN,
    "string": base_model_pb2.ParameterSpec.TYPE_STRING,
    "string_list": base_model_pb2.ParameterSpec.TYPE_STRING,
    "int_list": base_model_pb2.ParameterSpec.TYPE_INTEGER,
}


def given_parameters(message: training_job_pb2.TrainingParameters) -> dict[str, object]:
    """The parameters that a caller set; unset fields are left out, so that the base model's defaults apply."""
    given: dict[str, object] = {}
    for field, value in message.ListFields():
        given[field.name] = tuple(value) if field.is_repeated else value
    return given


def parameters_to_proto(parameters: TrainingParameters) -> training_job_pb2.TrainingParameters:
    """All parameters, resolved. The trigger word is the dataset's and stands in the job."""
    values = {name: getattr(parameters, name) for name in _MAPPED}
    return training_job_pb2.TrainingParameters(**values)


def base_model_to_proto(offered: OfferedModel) -> base_model_pb2.BaseModel:
    """A base model as callers see it, without the place of its weights."""
    model = offered.model
    return base_model_pb2.BaseModel(
        name=offered.name,
        display_name=model.title,
        description=model.description,
        family=model.family,
        license=model.license,
        native_resolution=model.resolution,
        label_style=model.label_style,
        memory_bytes=model.memory_mib * 1024 * 1024,
        parameter_specs=[_spec_to_proto(spec) for spec in model.specs if spec.name in FIELD_NAMES],
        available=offered.available,
        hub_id=model.hub_id,
        hub_tags=families()[model.family].hub_tags,
        training_shapes=_shapes(model),
        caption_tokens=model.caption_tokens,
    )


def _shapes(model: BaseModel) -> list[base_model_pb2.TrainingShape]:
    shapes = bucket_shapes(model.resolution, model.pixel_multiple)
    bucketed = next((spec.default for spec in model.specs if spec.name == "aspect_buckets"), True)
    taken = shapes if bucketed else shapes[:1]
    return [base_model_pb2.TrainingShape(width=width, height=height) for width, height in taken]


def _spec_to_proto(spec: ParameterSpec) -> base_model_pb2.ParameterSpec:
    return base_model_pb2.ParameterSpec(
        parameter=spec.name,
        type=_SPEC_TYPES[spec.type],
        default_value=_text(spec.default),
        minimum=spec.minimum,
        maximum=spec.maximum,
        choices=spec.choices,
        description=spec.description,
        choice_effects=[_effect(spec.sets.get(choice, {})) for choice in spec.choices] if spec.sets else (),
    )


def _effect(values: Mapping[str, ParameterValue]) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in values.items())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "\n".join(str(entry) for entry in value)
    return str(value)
