import { create } from '@bufbuild/protobuf'
import { expect, test } from 'vitest'
import { TrainingJobSchema } from '../gen/fiveshot/trainer/v1/training_job_pb'
import { differences } from './differences'

const job = (parameters: object, baseModel = 'baseModels/tiny') =>
  create(TrainingJobSchema, { baseModel, datasetVersion: 'projects/p/datasets/d/versions/1', parameters })

test('what is the same is not told', () => {
  expect(differences(job({ rank: 8, flip: true }), job({ rank: 8, flip: true }))).toEqual([])
})

test('a parameter, the base model and the prompts differ by name', () => {
  const found = differences(job({ rank: 8, learningRate: 1e-4, previewPrompts: ['a'] }), job({ rank: 16, learningRate: 1e-4, previewPrompts: ['a', 'b'] }, 'baseModels/sdxl'))
  expect(found).toEqual([
    { name: 'base_model', one: 'tiny', other: 'sdxl' },
    { name: 'rank', one: '8', other: '16' },
    { name: 'preview_prompts', one: 'a', other: 'a; b' },
  ])
})

test('several datasets differ by name and share', () => {
  const two = job({})
  const mixed = create(TrainingJobSchema, {
    baseModel: two.baseModel, datasetVersion: two.datasetVersion,
    datasets: [{ datasetVersion: two.datasetVersion, weight: 1 }, { datasetVersion: 'projects/p/datasets/e/versions/4', weight: 3 }, { datasetVersion: 'projects/p/datasets/r/versions/1', regularization: true }],
  })
  expect(differences(two, mixed)).toEqual([{ name: 'dataset_version', one: 'd/versions/1', other: 'd/versions/1 25 %; e/versions/4 75 %; r/versions/1 (–)' }])
})

test('unset is shown as nothing', () => {
  expect(differences(job({}), job({ seed: 7n }))).toEqual([{ name: 'seed', one: '', other: '7' }])
})
