// The part of a picture that is trained, as shares of its sides, and how a hand or a key changes it.
export interface Box {
  left: number
  top: number
  right: number
  bottom: number
}

export const WHOLE: Box = { left: 0, top: 0, right: 1, bottom: 1 }
/** Of the side: a smaller part could not be taken hold of again. */
export const LEAST = 0.05
/** Corners first: they lie above the sides. */
export const HANDLES = ['n', 'e', 's', 'w', 'nw', 'ne', 'se', 'sw'] as const
export type Handle = (typeof HANDLES)[number]

const clamp = (value: number, low: number, high: number) => Math.min(Math.max(value, low), Math.max(low, high))

/** Unset, or all zero, is the whole picture: so the API says it. */
export function boxOf(crop?: Box): Box {
  return crop && crop.right > crop.left && crop.bottom > crop.top ? { left: crop.left, top: crop.top, right: crop.right, bottom: crop.bottom } : WHOLE
}

const near = (one: number, other: number) => Math.abs(one - other) < 1e-4
export const same = (one: Box, other: Box) =>
  near(one.left, other.left) && near(one.top, other.top) && near(one.right, other.right) && near(one.bottom, other.bottom)
export const isWhole = (box: Box) => same(box, WHOLE)

export function moved(box: Box, across: number, down: number): Box {
  const dx = clamp(across, -box.left, 1 - box.right)
  const dy = clamp(down, -box.top, 1 - box.bottom)
  return { left: box.left + dx, top: box.top + dy, right: box.right + dx, bottom: box.bottom + dy }
}

/** One corner or side drawn by so much. ratio: the width over the height to keep, both as shares; 0 for any. */
export function resized(box: Box, handle: Handle, across: number, down: number, ratio = 0): Box {
  const [west, east, north, south] = ['w', 'e', 'n', 's'].map((side) => handle.includes(side))
  const left = west ? clamp(box.left + across, 0, box.right - LEAST) : box.left
  const right = east ? clamp(box.right + across, box.left + LEAST, 1) : box.right
  const top = north ? clamp(box.top + down, 0, box.bottom - LEAST) : box.top
  const bottom = south ? clamp(box.bottom + down, box.top + LEAST, 1) : box.bottom
  if (!ratio) return { left, top, right, bottom }
  const across0 = (box.left + box.right) / 2
  const down0 = (box.top + box.bottom) / 2
  let width = west || east ? right - left : (bottom - top) * ratio
  let height = width / ratio
  const roomAcross = west ? box.right : east ? 1 - box.left : 2 * Math.min(across0, 1 - across0)
  const roomDown = north ? box.bottom : south ? 1 - box.top : 2 * Math.min(down0, 1 - down0)
  const shrink = Math.min(1, roomAcross / width, roomDown / height)
  width *= shrink
  height *= shrink
  const x = west ? box.right - width : east ? box.left : across0 - width / 2
  const y = north ? box.bottom - height : south ? box.top : down0 - height / 2
  return { left: x, top: y, right: x + width, bottom: y + height }
}

/** Larger or smaller around its middle, in the same form, as far as the picture reaches. */
export function grown(box: Box, share: number): Box {
  const width = box.right - box.left
  const height = box.bottom - box.top
  const factor = clamp(1 + share, LEAST / Math.min(width, height), Math.min(1 / width, 1 / height))
  const dx = (width * (factor - 1)) / 2
  const dy = (height * (factor - 1)) / 2
  const wide = { left: box.left - dx, top: box.top - dy, right: box.right + dx, bottom: box.bottom + dy }
  const x = Math.max(0, -wide.left) - Math.max(0, wide.right - 1)
  const y = Math.max(0, -wide.top) - Math.max(0, wide.bottom - 1)
  return { left: wide.left + x, top: wide.top + y, right: wide.right + x, bottom: wide.bottom + y }
}

/** The largest part of this form inside the box, in its middle. */
export function fitted(box: Box, ratio: number): Box {
  const width = Math.min(box.right - box.left, (box.bottom - box.top) * ratio)
  const height = width / ratio
  const x = (box.left + box.right - width) / 2
  const y = (box.top + box.bottom - height) / 2
  return { left: x, top: y, right: x + width, bottom: y + height }
}

/** Pixels of the part, in the original. */
export const pixels = (box: Box, width: number, height: number): [number, number] => [
  Math.round((box.right - box.left) * width), Math.round((box.bottom - box.top) * height),
]

export interface Shape {
  width: number
  height: number
}

/** The forms of a base model's shapes, each once, the widest last; its largest shape stands for a form. */
export function forms(shapes: Shape[]): Shape[] {
  const found = new Map<string, Shape>()
  for (const shape of shapes) {
    const form = (shape.width / shape.height).toFixed(2)
    if ((found.get(form)?.width ?? 0) < shape.width) found.set(form, shape)
  }
  return [...found.values()].sort((one, other) => one.width / one.height - other.width / other.height)
}

/** The base model's shapes as the tagger takes them. */
export const shapesOf = (model?: { trainingShapes: Shape[] }): Shape[] => (model?.trainingShapes ?? []).map(({ width, height }) => ({ width, height }))
