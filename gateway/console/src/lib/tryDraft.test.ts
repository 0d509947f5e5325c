import { expect, test } from 'vitest'
import { parse } from './tryDraft'

const FIRST = { picked: ['b'], prompts: ['a dog'] }

test('without anything kept one begins with what is recommended and the prompts of the previews', () => {
  expect(parse(null, FIRST, ['a', 'b'])).toMatchObject({ ...FIRST, strengths: '0.6, 1', seeds: '' })
  expect(parse('[1', FIRST, ['a', 'b'])).toMatchObject(FIRST)
})

test('what was typed comes back; what is gone is no longer ticked', () => {
  const kept = JSON.stringify({ picked: ['a', 'gone', 3], prompts: ['x', 7], strengths: '0.5', seeds: 4 })
  expect(parse(kept, FIRST, ['a', 'b'])).toMatchObject({ picked: ['a'], prompts: ['x'], strengths: '0.5', seeds: '' })
  expect(parse(JSON.stringify({ picked: ['gone'] }), FIRST, ['a', 'b'])).toMatchObject(FIRST)
})
