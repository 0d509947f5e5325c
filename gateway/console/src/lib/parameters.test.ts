import { create } from '@bufbuild/protobuf'
import { describe, expect, it } from 'vitest'
import { ParameterSpec_Type as Type, ParameterSpecSchema } from '../gen/fiveshot/trainer/v1/base_model_pb'
import { grouped, message } from './parameters'

const spec = (parameter: string, type: Type) => create(ParameterSpecSchema, { parameter, type })
const SPECS = [
  spec('num_epochs', Type.INTEGER), spec('learning_rate', Type.NUMBER), spec('flip', Type.BOOLEAN),
  spec('optimizer', Type.STRING), spec('seed', Type.INTEGER), spec('brand_new', Type.NUMBER),
]

describe('message', () => {
  it('holds what was chosen, in its own type, and leaves the rest to the server', () => {
    const made = message({ num_epochs: '3', learning_rate: '1e-4', flip: false, optimizer: 'prodigy', seed: '7' }, SPECS, ['a cat', ' '])
    expect(made.numEpochs).toBe(3)
    expect(made.learningRate).toBe(1e-4)
    expect(made.flip).toBe(false)
    expect(made.optimizer).toBe('prodigy')
    expect(made.seed).toBe(7n)
    expect(made.previewPrompts).toEqual(['a cat'])
    expect(made.rank).toBeUndefined()
  })
  it('leaves out what is empty, no number, or no field of this console', () => {
    const made = message({ num_epochs: '', learning_rate: 'much', brand_new: '1', unknown: 'x' }, SPECS, [])
    expect(made.numEpochs).toBeUndefined()
    expect(made.learningRate).toBeUndefined()
    expect(Object.keys(made)).not.toContain('brandNew')
  })
})

describe('grouped', () => {
  it('shows every parameter once, those of a newer server last', () => {
    const names = grouped(SPECS).map(([group, inside]) => [group, inside.map((each) => each.parameter)])
    expect(names).toEqual([['learning', ['learning_rate', 'optimizer', 'seed']], ['pictures', ['flip']], ['other', ['brand_new']]])
  })
})
