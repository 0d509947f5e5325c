import { create } from '@bufbuild/protobuf'
import { describe, expect, it } from 'vitest'
import { ImageSchema, TagSchema, TagSource } from '../gen/fiveshot/dataset/v1/dataset_pb'
import { has, tally, typed, Undo, without } from './tags'

const tags = (...labels: string[]) => labels.map((label) => create(TagSchema, { label, source: TagSource.AUTO }))
const image = (name: string, ...labels: string[]) => create(ImageSchema, { name, tags: tags(...labels) })

describe('tags', () => {
  it('are added at the end, by hand, parted by commas of both kinds', () => {
    const found = typed(tags('dog'), ' red hat, grass，雪 ,')
    expect(found.map((tag) => tag.label)).toEqual(['dog', 'red hat', 'grass', '雪'])
    expect(found.slice(1).every((tag) => tag.source === TagSource.MANUAL)).toBe(true)
  })
  it('are not added twice, in whatever spelling', () => expect(typed(tags('Red Hat'), 'red_hat, red hat')).toHaveLength(1))
  it('keep markup as text', () => expect(typed([], '<b>x</b>')[0]!.label).toBe('<b>x</b>'))
  it('are counted, most frequent first', () => {
    expect(tally([image('a', 'dog', 'grass'), image('b', 'dog', 'snow')])).toEqual([['dog', 2], ['grass', 1], ['snow', 1]])
  })
  it('are found and removed', () => {
    expect(has(tags('a b'), 'A_B')).toBe(true)
    expect(without(tags('a', 'b'), 'a').map((tag) => tag.label)).toEqual(['b'])
  })
})

describe('undo', () => {
  it('goes back step by step, and knows when there is nothing', () => {
    const undo = new Undo()
    undo.keep(image('a', 'one'))
    undo.keep(image('a', 'one', 'two'))
    expect(undo.steps).toBe(2)
    expect(undo.back()?.tags).toHaveLength(2)
    expect(undo.back()?.tags).toHaveLength(1)
    expect(undo.back()).toBeUndefined()
  })
})
