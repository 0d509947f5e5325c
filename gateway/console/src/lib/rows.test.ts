import { expect, test } from 'vitest'
import { columnsFor, mounted, rowAt, starts } from './rows'

test('rows begin where measured ones and the usual height put them', () => {
  expect([...starts(3, new Map([[1, 50]]), 100, 10)]).toEqual([0, 110, 170, 280])
})

test('a height finds its row, and ends at both ends', () => {
  const offsets = starts(4, new Map(), 90, 10)
  expect([-50, 0, 99, 100, 350, 9999].map((height) => rowAt(offsets, height))).toEqual([0, 0, 0, 1, 3, 3])
})

test('what is on the screen is mounted, with a row or two around it', () => {
  const offsets = starts(100, new Map(), 90, 10)
  const [first, end] = mounted(offsets, 1000, 1800, 20)
  expect(first).toBeLessThan(10)
  expect(end).toBeGreaterThan(18)
  expect(end - first).toBeLessThanOrEqual(13)
})

test('never more rows than the bound, and never none', () => {
  const offsets = starts(100, new Map(), 90, 10)
  for (const from of [-500, 0, 3333, 9999]) {
    const [first, end] = mounted(offsets, from, from + 5000, 7)
    expect(end - first).toBeGreaterThan(0)
    expect(end - first).toBeLessThanOrEqual(7)
    expect(end).toBeLessThanOrEqual(100)
  }
  expect(mounted(starts(0, new Map(), 90, 10), 0, 100, 7)).toEqual([0, 0])
})

test('a screen full of tiles stays within sixty on any screen', () => {
  for (const [width, height] of [[328, 740], [1280, 860], [2400, 1400], [3700, 2160]] as const) {
    const columns = columnsFor(width, height, 240, 16, 60, 60)
    const tile = (width - 16 * (columns - 1)) / columns
    expect(columns * (Math.ceil(height / (tile + 76)) + 1)).toBeLessThanOrEqual(60)
    expect(columns).toBeGreaterThanOrEqual(1)
  }
})
