// Two trainings side by side: only what differs.
import { shares } from './mix'
import { TrainingParametersSchema, type TrainingJob } from '../gen/fiveshot/trainer/v1/training_job_pb'

export interface Difference {
  name: string
  one: string
  other: string
}

/** Base model, dataset versions with their shares of the steps, and every parameter that is not the same, with both values. */
export function differences(one: TrainingJob, other: TrainingJob): Difference[] {
  const found = [
    { name: 'base_model', one: short(one.baseModel), other: short(other.baseModel) },
    { name: 'dataset_version', one: photos(one), other: photos(other) },
    ...TrainingParametersSchema.fields.map((field) => ({
      name: field.name, one: shown(one, field.localName), other: shown(other, field.localName),
    })),
  ]
  return found.filter((each) => each.one !== each.other)
}

const short = (name: string) => name.replace(/^projects\/[^/]*\//, '').replace(/^(baseModels|datasets)\//, '')

/** `rex/versions/1`, or `rex/versions/1 33 %; mia/versions/2 67 %`. Regularisation pictures have no share. */
function photos(job: TrainingJob): string {
  if (!job.datasets.length) return short(job.datasetVersion)
  const found = shares(job.datasets)
  return job.datasets.map((each, at) => `${short(each.datasetVersion)} ${found[at] === null ? '(–)' : `${Math.round(100 * found[at]!)} %`}`).join('; ')
}

function shown(job: TrainingJob, field: string): string {
  const value = (job.parameters as unknown as Record<string, unknown> | undefined)?.[field]
  if (Array.isArray(value)) return value.map(String).join('; ')
  if (typeof value === 'number') return String(Number(value.toPrecision(6)))
  return value === undefined || value === null ? '' : String(value)
}
