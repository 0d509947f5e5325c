import { expect, test } from 'vitest'
import { empty, parse } from './draft'

test('a draft comes back as it was kept', () => {
  const draft = { base: 'baseModels/sdxl', title: 'Rex', epochs: '7', repeats: '', chosen: { rank: '8', flip: true }, prompts: ['a', ''], from: 'projects/p/models/rex/versions/2', others: [{ dataset: 'projects/p/datasets/mia', weight: '2', regularization: false }], weight: '0.5' }
  expect(parse(JSON.stringify(draft))).toEqual(draft)
})

test('what is no draft is an empty one', () => {
  for (const text of [null, '', '{', 'null', '7', '[]', '{"prompts": 3, "chosen": "x"}']) expect(parse(text)).toEqual(empty())
  expect(parse('{"others": [3, null, {"dataset": 7}, {}]}')).toEqual(empty())
  expect(parse('{"prompts": [1, {"a": 2}], "chosen": {"rank": {"a": 1}}, "title": {}}')).toEqual(empty())
})
