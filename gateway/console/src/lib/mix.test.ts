import { expect, test } from 'vitest'
import { asked, learnt, shares, weightOf } from './mix'

const other = (dataset: string, weight = '', regularization = false) => ({ dataset, weight, regularization })

test('a plan with one dataset names no others', () => {
  expect(asked('rex', '3', [])).toEqual([])
})

test('weights that were not typed are left out, and regularisation pictures have none', () => {
  expect(asked('rex', '', [other('mia', '2'), other('dogs', '5', true)])).toEqual([
    { datasetVersion: 'rex', weight: undefined, regularization: false },
    { datasetVersion: 'mia', weight: 2, regularization: false },
    { datasetVersion: 'dogs', weight: undefined, regularization: true },
  ])
})

test('the steps are shared by weight, whatever keeps the base model', () => {
  expect(shares(asked('rex', '', [other('mia', '3'), other('dogs', '', true)]))).toEqual([0.25, 0.75, null])
})

test('a weight that is none leaves the shares unsaid', () => {
  for (const wrong of ['0', '-1', 'x']) expect(shares(asked('rex', '', [other('mia', wrong)]))).toEqual([null, null])
  expect(weightOf(' ')).toBeUndefined()
})

test('what a job learns is one version, or all but the regularisation pictures', () => {
  expect(learnt({ datasetVersion: 'a', datasets: [] })).toEqual(['a'])
  const datasets = [{ datasetVersion: 'a', regularization: false }, { datasetVersion: 'r', regularization: true }, { datasetVersion: 'b', regularization: false }]
  expect(learnt({ datasetVersion: 'a', datasets })).toEqual(['a', 'b'])
})
