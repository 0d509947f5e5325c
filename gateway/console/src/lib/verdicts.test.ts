import { create } from '@bufbuild/protobuf'
import { expect, test } from 'vitest'
import { EpochSchema, EvaluationSchema, type Epoch } from '../gen/fiveshot/trainer/v1/training_job_pb'
import { isCopy, measure, percent, verdicts } from './verdicts'

function epoch(evaluation: Parameters<typeof create<typeof EvaluationSchema>>[1] | null, recommended = false): Epoch {
  return create(EpochSchema, { recommended, evaluation: evaluation ? create(EvaluationSchema, evaluation) : undefined })
}

test('before the recommended epoch it is still learning, after it fades or hardly changes', () => {
  const found = verdicts([epoch({ fitLoss: 3 }), epoch({ fitLoss: 2 }, true), epoch({ fitLoss: 1 }), epoch({ fitLoss: 2.5 })])
  expect(found).toEqual(['learning', 'recommended', 'hardly', 'noBetter'])
})

test('a rise by more than a twentieth on what is not trained says why an epoch is too late', () => {
  const held = [epoch({ fitLoss: 2, heldOutLoss: 1 }, true), epoch({ fitLoss: 1, heldOutLoss: 1.04 }), epoch({ fitLoss: 1, heldOutLoss: 1.06 })]
  expect(verdicts(held)).toEqual(['recommended', 'hardly', 'past'])
  const moved = [epoch({ fitLoss: 2, movedLoss: 1 }, true), epoch({ fitLoss: 1, movedLoss: 1.2 })]
  expect(verdicts(moved)).toEqual(['recommended', 'byHeart'])
})

test('without a recommendation or a measurement there is no verdict', () => {
  expect(verdicts([epoch({ fitLoss: 1 })])).toEqual([''])
  expect(verdicts([epoch(null), epoch({ fitLoss: 1 }, true)])).toEqual(['', 'recommended'])
})

test('a copy is a copy whatever else it is', () => {
  expect(isCopy(epoch({ memorisation: 0.8 }))).toBe(true)
  expect(isCopy(epoch({ memorisation: 0.79 }))).toBe(false)
})

test('measures are per cent; what was not measured is none', () => {
  const found = epoch({ photoError: 0.855, drift: 0.0123 }).evaluation
  expect(percent(measure(found, 'photos'), 'photos')).toBe('86')
  expect(percent(measure(found, 'drift'), 'drift')).toBe('1.2')
  expect(percent(measure(found, 'unseen'), 'unseen')).toBe('–')
  expect(measure(undefined, 'photos')).toBeUndefined()
})
