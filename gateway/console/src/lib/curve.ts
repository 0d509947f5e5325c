// The loss as it is drawn: smoothed, without outliers, and never more points than a screen has.

/** Exponential moving average without the pull of its start; weight 0 leaves the values as they are. */
export function smooth(values: number[], weight: number): number[] {
  if (weight <= 0) return values
  let mean = 0
  let sum = 0
  return values.map((value) => {
    mean = weight * mean + (1 - weight) * value
    sum = weight * sum + (1 - weight)
    return mean / sum
  })
}

/** The range that holds all but the outermost share of the values, with a little room. */
export function range(values: number[], share = 0.02): [number, number] {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b)
  if (!sorted.length) return [0, 1]
  const low = sorted[Math.floor(sorted.length * share)]!
  const high = sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * (1 - share)) - 1)]!
  const room = (high - low || Math.abs(high) || 1) * 0.05
  return [low - room, high + room]
}

/** Places of at most `most` values: of each stretch its lowest and highest, so that no spike is lost. */
export function thin(values: number[], most: number): number[] {
  if (values.length <= most) return values.map((_, at) => at)
  const stretch = Math.ceil(values.length / (most / 2))
  const found: number[] = []
  for (let from = 0; from < values.length; from += stretch) {
    const to = Math.min(from + stretch, values.length)
    let low = from
    let high = from
    for (let at = from; at < to; at += 1) {
      if (values[at]! < values[low]!) low = at
      if (values[at]! > values[high]!) high = at
    }
    found.push(...(low === high ? [low] : low < high ? [low, high] : [high, low]))
  }
  return found
}

/** A curve of more points looks the same: of a longer job every so-many-th step is asked for. */
const MOST_POINTS = 20_000
export const strideFor = (steps: number) => Math.max(1, Math.ceil(steps / MOST_POINTS))
