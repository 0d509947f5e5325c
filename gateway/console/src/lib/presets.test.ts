import { create } from '@bufbuild/protobuf'
import { describe, expect, it } from 'vitest'
import { ParameterSpec_Type as Type, ParameterSpecSchema } from '../gen/fiveshot/trainer/v1/base_model_pb'
import { changes, effects, presetOf, presets, withPreset } from './presets'

const spec = (parameter: string, type: Type, defaultValue: string, more = {}) => create(ParameterSpecSchema, { parameter, type, defaultValue, ...more })
const SPECS = [
  spec('preset', Type.STRING, '', { choices: ['', 'person', 'style'], choiceEffects: ['', 'rank=32, alpha=16.0, learning_rate=0.0001', 'rank=16, flip=true'] }),
  spec('rank', Type.INTEGER, '16'), spec('alpha', Type.NUMBER, '16'), spec('learning_rate', Type.NUMBER, '0.001'), spec('flip', Type.BOOLEAN, 'false'),
]

describe('presets', () => {
  it('are the choices that change something, and none without a set', () => {
    expect(presets(SPECS)).toEqual(['person', 'style'])
    expect(presets([spec('preset', Type.STRING, '', { choices: [''] })])).toEqual([])
    expect(presets([])).toEqual([])
  })
  it('hold only where the base model has them: what was chosen for another is no fault here', () => {
    expect(presetOf({ preset: 'style' }, SPECS)).toBe('style')
    expect(presetOf({ preset: 'thing' }, SPECS)).toBe('')
    expect(presetOf({}, SPECS)).toBe('')
  })
  it('read what the server says of them', () => {
    expect(effects('rank=32, flip=true')).toEqual([['rank', '32'], ['flip', 'true']])
    expect(effects('')).toEqual([])
  })
  it('make their values the usual ones', () => {
    const usual = Object.fromEntries(withPreset(SPECS, 'person').map((each) => [each.parameter, each.defaultValue]))
    expect(usual).toMatchObject({ rank: '32', learning_rate: '0.0001', flip: 'false' })
    expect(withPreset(SPECS, '')).toBe(SPECS)
  })
})

describe('changes', () => {
  it('leave out what the preset sets as it was, and tell what was typed instead', () => {
    expect(changes(SPECS, 'person', { rank: '8' })).toEqual([
      { name: 'rank', before: '16', after: '32', own: '8' },
      { name: 'learning_rate', before: '0.001', after: '0.0001', own: '' },
    ])
    expect(changes(SPECS, 'style', { flip: false })).toEqual([{ name: 'flip', before: 'false', after: 'true', own: 'false' }])
    expect(changes(SPECS, '', {})).toEqual([])
  })
})
