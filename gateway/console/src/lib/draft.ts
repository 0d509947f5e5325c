// A training as it is being planned, and what of it a browser kept.
import { MOST, type Other } from './mix'
import type { Chosen } from './parameters'

export interface Draft {
  base: string
  title: string
  epochs: string
  repeats: string
  chosen: Chosen
  prompts: string[]
  /** Name of the earlier LoRA to go on from: a version of a model, or an epoch. */
  from: string
  /** Datasets that are trained along, and what this one weighs beside them. */
  others: Other[]
  weight: string
}

export const empty = (): Draft => ({ base: '', title: '', epochs: '', repeats: '', chosen: {}, prompts: [''], from: '', others: [], weight: '' })

/** What this browser kept. Anything else than a draft is none. */
export function parse(text: string | null): Draft {
  try {
    const found = JSON.parse(text ?? '') as Partial<Record<keyof Draft, unknown>>
    const word = (value: unknown) => (typeof value === 'string' || typeof value === 'number' ? String(value) : '')
    const chosen = Object.entries(found.chosen && typeof found.chosen === 'object' ? found.chosen : {})
    const prompts = Array.isArray(found.prompts) ? found.prompts.filter((each) => typeof each === 'string').slice(0, 8) : []
    return {
      base: word(found.base), title: word(found.title), epochs: word(found.epochs), repeats: word(found.repeats),
      chosen: Object.fromEntries(chosen.filter(([, value]) => ['string', 'boolean'].includes(typeof value))) as Chosen,
      prompts: prompts.length ? prompts : [''],
      from: word(found.from),
      others: (Array.isArray(found.others) ? found.others : []).flatMap(other).slice(0, MOST - 1), weight: word(found.weight),
    }
  } catch {
    return empty()
  }
}

function other(found: unknown): Other[] {
  const { dataset, weight, regularization } = (found ?? {}) as Partial<Record<keyof Other, unknown>>
  return typeof dataset === 'string' && dataset ? [{ dataset, weight: typeof weight === 'string' ? weight : '', regularization: regularization === true }] : []
}
