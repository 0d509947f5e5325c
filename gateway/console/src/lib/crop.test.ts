import { expect, test } from 'vitest'
import { boxOf, fitted, forms, grown, HANDLES, isWhole, LEAST, moved, pixels, resized, WHOLE, type Box } from './crop'

const BOX: Box = { left: 0.2, top: 0.3, right: 0.6, bottom: 0.7 }
const width = (box: Box) => box.right - box.left
const height = (box: Box) => box.bottom - box.top

test('an unset crop and one of zeros are the whole picture', () => {
  expect(isWhole(boxOf(undefined))).toBe(true)
  expect(isWhole(boxOf({ left: 0, top: 0, right: 0, bottom: 0 }))).toBe(true)
  expect(boxOf(BOX)).toEqual(BOX)
})

test('moving keeps the size and stays inside', () => {
  const far = moved(BOX, 5, -5)
  expect(far.right).toBeCloseTo(1)
  expect(far.top).toBeCloseTo(0)
  expect(width(far)).toBeCloseTo(width(BOX))
  expect(height(far)).toBeCloseTo(height(BOX))
})

test('every handle leaves a part inside the picture, whichever way it is drawn', () => {
  for (const handle of HANDLES) {
    for (const [across, down] of [[3, 3], [-3, -3], [3, -3], [-3, 3], [0.01, 0.02]] as const) {
      for (const ratio of [0, 1, 0.5, 2.4]) {
        const start = ratio ? fitted(BOX, ratio) : BOX
        const found = resized(start, handle, across, down, ratio)
        expect(Math.min(found.left, found.top)).toBeGreaterThanOrEqual(-1e-9)
        expect(Math.max(found.right, found.bottom)).toBeLessThanOrEqual(1 + 1e-9)
        expect(width(found)).toBeGreaterThan(0)
        if (ratio) expect(width(found) / height(found)).toBeCloseTo(ratio)
      }
    }
  }
})

test('a side changes itself alone; a part never closes', () => {
  expect(resized(BOX, 'e', 0.1, 0.9)).toEqual({ ...BOX, right: 0.7 })
  expect(width(resized(BOX, 'w', 1, 0))).toBeCloseTo(LEAST)
})

test('growing around the middle ends at the picture, shrinking before nothing', () => {
  expect(isWhole(grown({ left: 0.1, top: 0.1, right: 0.6, bottom: 0.6 }, 9))).toBe(true)
  expect(width(grown(BOX, -1))).toBeCloseTo(LEAST)
  const more = grown({ left: 0, top: 0.4, right: 0.2, bottom: 0.6 }, 1)
  expect(more.left).toBeCloseTo(0)
  expect(width(more)).toBeCloseTo(0.4)
})

test('a form is fitted into the middle, and counted in pixels', () => {
  expect(fitted(WHOLE, 0.5)).toEqual({ left: 0.25, top: 0, right: 0.75, bottom: 1 })
  expect(pixels(BOX, 1000, 500)).toEqual([400, 200])
})

test('shapes of one form are offered once', () => {
  const found = forms([{ width: 512, height: 512 }, { width: 1024, height: 1024 }, { width: 768, height: 1024 }])
  expect(found).toEqual([{ width: 768, height: 1024 }, { width: 1024, height: 1024 }])
})
