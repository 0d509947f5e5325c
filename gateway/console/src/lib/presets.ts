// Starting points by what is trained, as the server describes them: a parameter whose choices set others.
import type { ParameterSpec } from '../gen/fiveshot/trainer/v1/base_model_pb'
import { textOf, type Chosen } from './parameters'

/** The parameter that presets are choices of. */
export const PRESET = 'preset'

/** Name and value of a parameter, as texts. */
export type Effect = [name: string, value: string]

/** A description of the server's such as `rank=32, flip=true`. */
export function effects(text: string): Effect[] {
  return text.split(', ').flatMap((each): Effect[] => {
    const at = each.indexOf('=')
    return at > 0 ? [[each.slice(0, at), each.slice(at + 1)]] : []
  })
}

/** The presets that a base model offers; none where it has no set. */
export function presets(specs: ParameterSpec[]): string[] {
  return specs.find((spec) => spec.parameter === PRESET)?.choices.filter(Boolean) ?? []
}

/** The preset that holds: the chosen one, if this base model has it. */
export function presetOf(chosen: Chosen, specs: ParameterSpec[]): string {
  return presets(specs).find((each) => each === chosen[PRESET]) ?? ''
}

/** The specs as they are with a preset: what it sets is what is usual now. */
export function withPreset(specs: ParameterSpec[], preset: string): ParameterSpec[] {
  const set = new Map(effectsOf(specs, preset))
  return set.size ? specs.map((spec) => (set.has(spec.parameter) ? { ...spec, defaultValue: set.get(spec.parameter)! } : spec)) : specs
}

export interface Change {
  name: string
  /** Without the preset. */
  before: string
  /** By the preset. */
  after: string
  /** What was typed instead, which goes before the preset; '' where nothing was. */
  own: string
}

/** What a preset changes of a base model's defaults; what it sets as it was is no change. */
export function changes(specs: ParameterSpec[], preset: string, chosen: Chosen): Change[] {
  return effectsOf(specs, preset).flatMap(([name, after]): Change[] => {
    const before = specs.find((spec) => spec.parameter === name)?.defaultValue ?? ''
    const own = chosen[name] === undefined ? '' : String(chosen[name])
    return alike(before, after) ? [] : [{ name, before: textOf(before), after: textOf(after), own: own && textOf(own) }]
  })
}

function effectsOf(specs: ParameterSpec[], preset: string): Effect[] {
  const spec = specs.find((each) => each.parameter === PRESET)
  const at = preset ? (spec?.choices.indexOf(preset) ?? -1) : -1
  return at < 0 ? [] : effects(spec?.choiceEffects[at] ?? '')
}

const alike = (one: string, other: string) => one === other || (one !== '' && other !== '' && Number(one) === Number(other))
