import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { eachFrame } from './frames'

let due: (() => void)[] = []
let now = 0
beforeEach(() => {
  due = []
  now = 0
  vi.stubGlobal('requestAnimationFrame', (run: () => void) => due.push(run))
  vi.stubGlobal('cancelAnimationFrame', () => (due = []))
  vi.spyOn(performance, 'now').mockImplementation(() => now)
})
afterEach(() => vi.unstubAllGlobals())

test('a frame does one long piece or several short ones, until none is left', () => {
  const lasts = [9, 0.5, 0.5, 0.5, 3, 9]
  const frames = eachFrame(() => {
    now += lasts.shift()!
    return lasts.length > 0
  })
  frames.ask()
  frames.ask()
  expect(due).toHaveLength(1)
  const left: number[] = []
  while (due.length) {
    due.shift()!()
    left.push(lasts.length)
  }
  expect(left).toEqual([5, 1, 0])
})

test('what ended asks for no frame', () => {
  const frames = eachFrame(() => true)
  frames.ask()
  frames.end()
  expect(due).toEqual([])
})
