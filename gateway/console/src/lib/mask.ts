// What of a picture is trained, as grey values row by row (255 is, 0 is not), and what a brush does to it.
export interface Field {
  width: number
  height: number
  values: Uint8ClampedArray
}

/** Pixels of a field: left and top inside, right and bottom outside. */
export interface Area {
  left: number
  top: number
  right: number
  bottom: number
}

export interface Brush {
  /** Pixels of the field. */
  radius: number
  /** The outer share of the radius that fades, 0 to 1. */
  soft: number
  /** True paints, false takes away. */
  paints: boolean
}

export interface Point {
  x: number
  y: number
}

/** Pixels of the longer side of what is drawn; training needs far fewer. */
export const SIDE = 1024
/** Bytes of earlier states that are kept to go back to. */
const KEPT = 48 * 1024 * 1024
const HALF = 128
const SHADE = 0.72

/** The size of a field for a picture of this size: its shape, no larger than needed. */
export function sizeFor(width: number, height: number, most = SIDE): [number, number] {
  const scale = Math.min(1, most / Math.max(width, height, 1))
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))]
}

export function filled(width: number, height: number, value: number): Field {
  return { width, height, values: new Uint8ClampedArray(width * height).fill(value) }
}

export const everything = (field: Field): Area => ({ left: 0, top: 0, right: field.width, bottom: field.height })

/** Draws from one point to another and says which pixels may have changed. Going over a place twice is like going once. */
export function stroke(field: Field, from: Point, to: Point, brush: Brush): Area {
  const { radius, paints } = brush
  const area = {
    left: Math.max(0, Math.floor(Math.min(from.x, to.x) - radius)),
    top: Math.max(0, Math.floor(Math.min(from.y, to.y) - radius)),
    right: Math.min(field.width, Math.ceil(Math.max(from.x, to.x) + radius) + 1),
    bottom: Math.min(field.height, Math.ceil(Math.max(from.y, to.y) + radius) + 1),
  }
  const dx = to.x - from.x
  const dy = to.y - from.y
  const length = dx * dx + dy * dy
  const hard = radius * (1 - brush.soft)
  const fade = Math.max(radius - hard, 1e-6)
  for (let y = area.top; y < area.bottom; y += 1) {
    for (let x = area.left; x < area.right; x += 1) {
      const px = x + 0.5 - from.x
      const py = y + 0.5 - from.y
      const along = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0
      const away = Math.hypot(px - along * dx, py - along * dy)
      if (away >= radius) continue
      const full = away <= hard ? 255 : (255 * (radius - away)) / fade
      const at = y * field.width + x
      const now = field.values[at]!
      field.values[at] = paints ? Math.max(now, full) : Math.min(now, 255 - full)
    }
  }
  return area
}

/** The share that is marked, 0 to 1; grey counts in part. */
export function covered(field: Field): number {
  let sum = 0
  for (const value of field.values) sum += value
  return sum / (255 * field.values.length)
}

/** Whether the server takes it: a mask without a pixel of half white is refused. */
export const marks = (field: Field): boolean => field.values.some((value) => value >= HALF)

/** The field as opaque grey, RGBA. */
export function grey(field: Field): Uint8ClampedArray<ArrayBuffer> {
  const pixels = new Uint8ClampedArray(field.values.length * 4)
  for (let at = 0; at < field.values.length; at += 1) {
    pixels.fill(field.values[at]!, at * 4, at * 4 + 3)
    pixels[at * 4 + 3] = 255
  }
  return pixels
}

/** The field out of RGBA pixels, of which red counts. */
export function fieldOf(width: number, height: number, pixels: Uint8ClampedArray): Field {
  const field = filled(width, height, 0)
  for (let at = 0; at < field.values.length; at += 1) field.values[at] = pixels[at * 4]!
  return field
}

/** Lays over a picture what is not trained of it as a shade, with a white line where the two meet. pixels: RGBA of the whole field; of `area` they are written. */
export function shade(field: Field, pixels: Uint8ClampedArray, area: Area): void {
  const { width, height, values } = field
  for (let y = area.top; y < area.bottom; y += 1) {
    for (let x = area.left; x < area.right; x += 1) {
      const at = y * width + x
      const inside = values[at]! >= HALF
      const edge = inside && (edgeTo(at - 1, x > 0) || edgeTo(at + 1, x < width - 1) || edgeTo(at - width, y > 0) || edgeTo(at + width, y < height - 1))
      pixels.fill(edge ? 255 : 0, at * 4, at * 4 + 3)
      pixels[at * 4 + 3] = edge ? 235 : (255 - values[at]!) * SHADE
    }
  }
  function edgeTo(at: number, there: boolean): boolean {
    return there && values[at]! < HALF
  }
}

/** The least area that holds both. */
export const both = (one: Area | null, other: Area): Area => (!one ? other : {
  left: Math.min(one.left, other.left), top: Math.min(one.top, other.top), right: Math.max(one.right, other.right), bottom: Math.max(one.bottom, other.bottom),
})

/** A pixel more on each side: the line where shade and picture meet looks at its neighbours. */
export const around = (area: Area, field: Field): Area => ({
  left: Math.max(0, area.left - 1), top: Math.max(0, area.top - 1), right: Math.min(field.width, area.right + 1), bottom: Math.min(field.height, area.bottom + 1),
})

/** Earlier states of a field, newest last; null is a picture without a mask. The oldest go when they take too much room. */
export class States {
  #kept: (Field | null)[] = []

  get length(): number {
    return this.#kept.length
  }

  push(field: Field | null): void {
    this.#kept.push(field && { ...field, values: field.values.slice() })
    while (this.#kept.length > 1 && this.#kept.reduce((sum, each) => sum + (each?.values.length ?? 0), 0) > KEPT) this.#kept.shift()
  }

  pop(): Field | null | undefined {
    return this.#kept.pop()
  }

  clear(): void {
    this.#kept = []
  }
}
