import { describe, expect, it, test } from 'vitest'
import { around, both, covered, everything, fieldOf, filled, grey, marks, shade, sizeFor, States, stroke } from './mask'

const at = (field: { width: number; values: Uint8ClampedArray }, x: number, y: number) => field.values[y * field.width + x]

describe('the brush', () => {
  it('paints a disc with a soft edge, and no pixel beyond its radius', () => {
    const field = filled(40, 40, 0)
    stroke(field, { x: 20, y: 20 }, { x: 20, y: 20 }, { radius: 10, soft: 0.5, paints: true })
    expect(at(field, 20, 20)).toBe(255)
    expect(at(field, 27, 20)).toBeGreaterThan(0)
    expect(at(field, 27, 20)).toBeLessThan(255)
    expect(at(field, 31, 20)).toBe(0)
  })

  it('leaves no gap between two points of a quick stroke', () => {
    const field = filled(100, 20, 0)
    stroke(field, { x: 5, y: 10 }, { x: 95, y: 10 }, { radius: 4, soft: 0, paints: true })
    for (let x = 5; x < 95; x += 1) expect(at(field, x, 10)).toBe(255)
    expect(at(field, 50, 2)).toBe(0)
  })

  it('does not deepen a soft edge by going over it again', () => {
    const field = filled(40, 40, 0)
    const once = () => stroke(field, { x: 20, y: 20 }, { x: 22, y: 20 }, { radius: 10, soft: 1, paints: true })
    once()
    const first = field.values.slice()
    once()
    expect(field.values).toEqual(first)
  })

  it('takes away what it painted, with the same edge', () => {
    const field = filled(40, 40, 255)
    stroke(field, { x: 20, y: 20 }, { x: 20, y: 20 }, { radius: 10, soft: 0.5, paints: false })
    expect(at(field, 20, 20)).toBe(0)
    expect(at(field, 0, 0)).toBe(255)
    expect(at(field, 27, 20)).toBeGreaterThan(0)
  })

  it('says which pixels it may have changed, and stays inside the field', () => {
    const field = filled(30, 30, 0)
    expect(stroke(field, { x: -5, y: 2 }, { x: 3, y: 2 }, { radius: 4, soft: 0, paints: true })).toEqual({ left: 0, top: 0, right: 8, bottom: 7 })
    const area = stroke(field, { x: 15, y: 15 }, { x: 18, y: 20 }, { radius: 3.5, soft: 0.3, paints: true })
    field.values.forEach((value, number) => {
      const [x, y] = [number % 30, Math.floor(number / 30)]
      if (value && x > 8) expect(x >= area.left && x < area.right && y >= area.top && y < area.bottom).toBe(true)
    })
  })
})

describe('a field', () => {
  it('has the shape of its picture, and is never larger than it', () => {
    expect(sizeFor(4000, 3000)).toEqual([1024, 768])
    expect(sizeFor(60, 90)).toEqual([60, 90])
    expect(sizeFor(9000, 3)).toEqual([1024, 1])
  })

  it('goes to grey pixels and back', () => {
    const field = filled(3, 2, 0)
    field.values.set([0, 50, 100, 150, 200, 255])
    expect(fieldOf(3, 2, grey(field))).toEqual(field)
    expect(grey(field).slice(4, 8)).toEqual(new Uint8ClampedArray([50, 50, 50, 255]))
  })

  it('counts grey in part, and marks nothing below half white', () => {
    expect(covered(filled(4, 4, 51))).toBeCloseTo(0.2)
    expect(marks(filled(4, 4, 127))).toBe(false)
    expect(marks(filled(4, 4, 128))).toBe(true)
  })

  it('shades what is not trained, and draws a line around what is', () => {
    const field = filled(9, 9, 0)
    for (let y = 2; y < 7; y += 1) for (let x = 2; x < 7; x += 1) field.values[y * 9 + x] = 255
    const pixels = new Uint8ClampedArray(9 * 9 * 4)
    shade(field, pixels, everything(field))
    const alpha = (x: number, y: number) => pixels[(y * 9 + x) * 4 + 3]
    expect(alpha(0, 0)).toBeGreaterThan(150)
    expect(alpha(4, 4)).toBe(0)
    expect([pixels[(4 * 9 + 2) * 4], alpha(2, 4)]).toEqual([255, 235])
    expect(around({ left: 0, top: 3, right: 9, bottom: 5 }, field)).toEqual({ left: 0, top: 2, right: 9, bottom: 6 })
  })
})

test('of two areas the least that holds both', () => {
  const one = { left: 2, top: 3, right: 5, bottom: 6 }
  expect(both(null, one)).toEqual(one)
  expect(both(one, { left: 0, top: 4, right: 4, bottom: 9 })).toEqual({ left: 0, top: 3, right: 5, bottom: 9 })
})

describe('the way back', () => {
  it('keeps copies, and forgets the oldest when they take too much room', () => {
    const states = new States()
    const field = filled(4096, 4096, 1)
    for (let turn = 0; turn < 5; turn += 1) {
      field.values[0] = turn
      states.push(field)
    }
    expect(states.length).toBe(3)
    expect(states.pop()?.values[0]).toBe(4)
    expect(states.pop()?.values[0]).toBe(3)
    states.push(null)
    expect(states.pop()).toBe(null)
  })
})
