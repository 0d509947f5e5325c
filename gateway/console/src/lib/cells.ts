// The pictures of a preview request as a grid: rows and columns, and what was typed into its form.
import type { PreviewCell } from '../gen/fiveshot/trainer/v1/preview_request_pb'

/** What a request combines, as its message holds it. */
export interface Asked {
  sources: string[]
  strengths: number[]
  prompts: string[]
  seeds: bigint[]
}

export interface Row {
  source: string
  strength: number
}

export interface Column {
  prompt: string
  seed: bigint
}

export interface Grid {
  rows: Row[]
  columns: Column[]
  /** Drawn cells, by row and column; undefined where one is not drawn yet. */
  at: (row: number, column: number) => PreviewCell | undefined
}

/** A row a source at a strength, a column a prompt with a seed, as the server numbers its cells. */
export function gridOf(asked: Asked, cells: PreviewCell[]): Grid {
  const strengths = asked.strengths.length ? asked.strengths : [1]
  const seeds = asked.seeds.length ? asked.seeds : [0n]
  const rows = asked.sources.flatMap((source) => strengths.map((strength) => ({ source, strength })))
  const columns = asked.prompts.flatMap((prompt) => seeds.map((seed) => ({ prompt, seed })))
  const drawn = new Map(cells.map((cell) => [cell.index, cell]))
  return { rows, columns, at: (row, column) => drawn.get(row * columns.length + column) }
}

/** Pictures that a request of such a form would draw. */
export const cellsOf = (sources: number, strengths: number, prompts: number, seeds: number) =>
  sources * Math.max(1, strengths) * prompts * Math.max(1, seeds)

/** Numbers in a line such as `0.6, 0.8 1`, each once, in their order; null where something is none, or out of bounds. */
export function numbers(text: string, low: number, high: number, whole = false): number[] | null {
  const parts = text.split(/[\s,，;、]+/).filter(Boolean)
  const found = [...new Set(parts.map(Number))]
  return found.every((each) => Number.isFinite(each) && each >= low && each <= high && (!whole || Number.isInteger(each))) ? found : null
}
