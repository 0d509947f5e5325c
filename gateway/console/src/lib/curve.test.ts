import { describe, expect, it, test } from 'vitest'
import { range, smooth, strideFor, thin } from './curve'

describe('smooth', () => {
  it('leaves values as they are without a weight', () => expect(smooth([3, 1, 2], 0)).toEqual([3, 1, 2]))
  it('does not pull the start towards zero', () => expect(smooth([5, 5, 5], 0.9).map((one) => one.toFixed(6))).toEqual(['5.000000', '5.000000', '5.000000']))
  it('follows slowly', () => {
    const [first, second] = smooth([0, 1], 0.5)
    expect(first).toBe(0)
    expect(second).toBeCloseTo(2 / 3)
  })
})

describe('range', () => {
  it('leaves out a spike', () => {
    const values = Array.from({ length: 100 }, (_, at) => 1 + at / 1000)
    values[50] = 900
    expect(range(values)[1]).toBeLessThan(2)
    expect(range(values, 0)[1]).toBeGreaterThan(900)
  })
  it('knows what to do with nothing, one value and no number', () => {
    expect(range([])).toEqual([0, 1])
    const [low, high] = range([0.5])
    expect(low).toBeLessThan(0.5)
    expect(high).toBeGreaterThan(0.5)
    expect(range([NaN, Infinity])).toEqual([0, 1])
  })
})

describe('thin', () => {
  it('keeps order, ends of the scale and the number of points', () => {
    const values = Array.from({ length: 200_000 }, (_, at) => Math.sin(at))
    values[123_456] = 42
    const places = thin(values, 2000)
    expect(places.length).toBeLessThanOrEqual(2002)
    expect(places.every((place, at) => at === 0 || place > places[at - 1]!)).toBe(true)
    expect(places).toContain(123_456)
  })
  it('leaves few points alone', () => expect(thin([3, 4], 10)).toEqual([0, 1]))
})

test('of a long job every so-many-th step is asked for', () => {
  expect([0, 1, 20_000, 20_001, 200_000].map(strideFor)).toEqual([1, 1, 1, 2, 10])
})
