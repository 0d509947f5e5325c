// Epochs on one scale and in words, as `fiveshot epochs list` tells them (gateway/cli/verdicts.py); docs/evaluation.md.
import type { Epoch, Evaluation } from '../gen/fiveshot/trainer/v1/training_job_pb'

/** From here on the trainer counts a preview as a copy of a photo. */
export const COPY = 0.8
const RISE = 0.05

export type Verdict = 'recommended' | 'learning' | 'past' | 'byHeart' | 'hardly' | 'noBetter' | ''

/** Each epoch beside the recommended one; '' where nothing was measured or recommended. */
export function verdicts(epochs: Epoch[]): Verdict[] {
  const best = epochs.findIndex((epoch) => epoch.recommended)
  return epochs.map((epoch, number) => (best < 0 ? '' : verdict(epochs, epoch, number, best)))
}

export const isCopy = (epoch: Epoch) => (epoch.evaluation?.memorisation ?? 0) >= COPY

function verdict(epochs: Epoch[], epoch: Epoch, number: number, best: number): Verdict {
  if (number === best) return 'recommended'
  const found = epoch.evaluation
  if (!found) return ''
  if (number < best) return 'learning'
  const soFar = epochs.slice(0, number + 1).flatMap((each) => each.evaluation ?? [])
  if (risen(soFar, 'heldOutLoss')) return 'past'
  if (risen(soFar, 'movedLoss')) return 'byHeart'
  if (isCopy(epoch)) return ''
  return found.fitLoss < (epochs[best]!.evaluation?.fitLoss ?? 0) ? 'hardly' : 'noBetter'
}

function risen(evaluations: Evaluation[], field: 'heldOutLoss' | 'movedLoss'): boolean {
  const losses = evaluations.flatMap((each) => each[field] ?? [])
  return losses.length > 0 && losses.at(-1)! > Math.min(...losses) * (1 + RISE)
}

export const MEASURES = ['photos', 'unseen', 'drift', 'likeness'] as const
export type Measure = (typeof MEASURES)[number]

/** In per cent, less is better; undefined where it was not measured. */
export function measure(found: Evaluation | undefined, which: Measure): number | undefined {
  if (!found) return undefined
  const share = { photos: found.photoError, unseen: found.unseenError, drift: found.drift, likeness: found.memorisation }[which]
  return share === undefined ? undefined : share * 100
}

export const percent = (value: number | undefined, which: Measure) => (value === undefined ? '–' : value.toFixed(which === 'drift' ? 1 : 0))
