import { create } from '@bufbuild/protobuf'
import { describe, expect, it } from 'vitest'
import { ImageSchema, TagSchema, TagSource } from '../gen/fiveshot/dataset/v1/dataset_pb'
import { below, has, tally, typed, weak, without } from './tags'

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

describe('a threshold', () => {
  const scored = [0.2, 0.5].map((score) => create(TagSchema, { label: `s${score}`, source: TagSource.AUTO, score }))
  const own = create(TagSchema, { label: 'mine', source: TagSource.MANUAL })
  it('drops what a model was less sure of, never what a person wrote', () => {
    const image = create(ImageSchema, { name: 'a', tags: [...scored, own] })
    expect(below([image, create(ImageSchema, { name: 'b', tags: [own] })], 0.5)).toEqual({ tags: 1, images: 1 })
    expect(image.tags.filter((tag) => !weak(tag, 1)).map((tag) => tag.label)).toEqual(['mine'])
    expect(below([image], 0)).toEqual({ tags: 0, images: 0 })
  })
})
