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

/** At most `most` points, twice: of each stretch its lowest and highest, so that no spike is lost. */
export function thin(steps: number[], values: number[], most: number): [number[], number[]] {
  if (steps.length <= most) return [steps, values]
  const stretch = Math.ceil(steps.length / (most / 2))
  const xs: number[] = []
  const ys: number[] = []
  for (let from = 0; from < steps.length; from += stretch) {
    const to = Math.min(from + stretch, steps.length)
    let low = from
    let high = from
    for (let at = from; at < to; at += 1) {
      if (values[at]! < values[low]!) low = at
      if (values[at]! > values[high]!) high = at
    }
    for (const at of low === high ? [low] : low < high ? [low, high] : [high, low]) {
      xs.push(steps[at]!)
      ys.push(values[at]!)
    }
  }
  return [xs, ys]
}
