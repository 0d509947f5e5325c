import { expect, test } from 'vitest'
import { RULES } from './strings/zhTold'
import { told } from './told'

test('several sentences are told one by one', () => {
  const text = 'Epoch 3 shows your subject best and still follows prompts; later ones are worse. One of its previews is nearly a copy of a photo. Learnt by heart: a, b.jpg, c.jpg; lower its repeats.'
  expect(told(text, RULES)).toBe('第 3 轮最像你的主体，也仍然听从提示词；之后的几轮变差了。它有一张预览几乎照搬了照片。被死记下来：a, b.jpg, c.jpg；请降低它的重复次数。')
})

test('what no rule knows stays as it came', () => {
  expect(told('Something new. It was still getting better at the end: more epochs may help.', RULES)).toBe('Something new. 到最后还在变好：多训练几轮可能更好。')
  expect(told('A $1 sentence.', RULES)).toBe('A $1 sentence.')
  expect(told('Epoch 3 shows your subject best.', [])).toBe('Epoch 3 shows your subject best.')
})
