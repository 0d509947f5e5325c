// Which rows of a long list are mounted: those on the screen and a few around them, never more tiles than a bound.

/** Where each row begins, and at the end where the last one ends, in pixels. heights: of the rows that were measured. */
export function starts(rows: number, heights: ReadonlyMap<number, number>, usual: number, gap: number): Float64Array {
  const found = new Float64Array(rows + 1)
  for (let row = 0; row < rows; row += 1) found[row + 1] = found[row]! + (heights.get(row) ?? usual) + gap
  return found
}

/** The first mounted row and the one after the last. from, to: the part of the list that is on the screen, in pixels. */
export function mounted(offsets: Float64Array, from: number, to: number, most: number): [number, number] {
  const rows = offsets.length - 1
  if (rows <= 0) return [0, 0]
  let first = Math.min(rowAt(offsets, from), rows - 1)
  let end = Math.min(rows, rowAt(offsets, to) + 1)
  end = Math.min(end, first + Math.max(1, most))
  // What the bound leaves goes around the screen, below first: one scrolls down more often.
  for (let turn = 0; turn < 2; turn += 1) {
    if (end < rows && end - first < most) end += 1
    if (first > 0 && end - first < most) first -= 1
  }
  return [first, end]
}

/** The row at this height; the first one above the list, the last one below it. */
export function rowAt(offsets: Float64Array, height: number): number {
  let low = 0
  let high = offsets.length - 2
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (offsets[middle]! <= height) low = middle
    else high = middle - 1
  }
  return Math.max(0, low)
}

/** So many columns that tiles are at least so wide, and a full screen of them stays within the bound. below: what stands under a tile, in pixels. */
export function columnsFor(width: number, height: number, least: number, gap: number, below: number, most: number): number {
  let columns = Math.max(1, Math.floor((width + gap) / (least + gap)))
  while (columns > 1) {
    const tile = (width - gap * (columns - 1)) / columns
    if (columns * (Math.ceil(height / (tile + below + gap)) + 1) <= most) break
    columns -= 1
  }
  return columns
}
