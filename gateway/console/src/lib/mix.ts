// Several datasets in one training, each with a weight: what a plan keeps of them, and how a job's are told.

/** Datasets of one job, the plan's own among them. */
export const MOST = 8

/** A dataset beside the one that is planned. */
export interface Other {
  /** Its name. */
  dataset: string
  /** As it was typed; empty is 1. */
  weight: string
  /** Its pictures keep the base model as it is, and are not learnt. */
  regularization: boolean
}

/** What a job, and a kept version, say of each of their datasets. */
export interface Mixed {
  datasetVersion: string
  weight?: number
  regularization: boolean
}

/** Of a weight as it was typed its number; undefined where none was. */
export const weightOf = (typed: string) => (typed.trim() === '' ? undefined : Number(typed))

/** Which share of the steps each gets, 0 to 1; null for regularisation pictures, and for all while a weight is no number above zero. */
export function shares(mixed: readonly Mixed[]): (number | null)[] {
  const weights = mixed.map((each) => (each.regularization ? 0 : (each.weight ?? 1)))
  const sum = weights.reduce((all, one) => all + one, 0)
  const sound = weights.every((weight, at) => mixed[at]!.regularization || (Number.isFinite(weight) && weight > 0))
  return mixed.map((each, at) => (each.regularization || !sound ? null : weights[at]! / sum))
}

/** The datasets of a plan as a job names them; none where its own is alone. */
export function asked(own: string, weight: string, others: readonly Other[]): Mixed[] {
  if (!others.length) return []
  return [
    { datasetVersion: own, weight: weightOf(weight), regularization: false },
    ...others.map((each) => ({
      datasetVersion: each.dataset, weight: each.regularization ? undefined : weightOf(each.weight), regularization: each.regularization,
    })),
  ]
}

/** The versions that a job learns, the first one first: all of them where it has several. */
export const learnt = (job: { datasetVersion: string; datasets: readonly Mixed[] }) =>
  job.datasets.length ? job.datasets.filter((each) => !each.regularization).map((each) => each.datasetVersion) : [job.datasetVersion]
