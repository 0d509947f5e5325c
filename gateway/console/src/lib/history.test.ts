import { create } from '@bufbuild/protobuf'
import { expect, test } from 'vitest'
import { CropSchema, ImageSchema, TagSchema, TagSource } from '../gen/fiveshot/dataset/v1/dataset_pb'
import { alike, History, onTop } from './history'

const tag = (label: string, source = TagSource.AUTO) => create(TagSchema, { label, source })
const image = create(ImageSchema, { name: 'a', caption: 'x', numRepeats: 2, tags: [tag('dog')] })

test('steps go back one by one, and there is an end', () => {
  const history = new History()
  history.push([['a', { caption: 'one' }]])
  history.push([['a', { caption: 'two' }], ['b', { caption: 'three' }]])
  expect(history.length).toBe(2)
  expect(history.pop()).toHaveLength(2)
  expect(history.pop()![0]![1]).toEqual({ caption: 'one' })
  expect(history.pop()).toBeUndefined()
})

test('a change that changes nothing is known, field by field', () => {
  expect(alike(image, { caption: 'x', numRepeats: 2, crop: undefined, tags: [tag('dog')] })).toBe(true)
  expect(alike(image, { caption: '' })).toBe(false)
  expect(alike(image, { numRepeats: 0 })).toBe(false)
  expect(alike(image, { crop: create(CropSchema, { right: 0.5, bottom: 1 }) })).toBe(false)
  expect(alike(image, { tags: [tag('dog', TagSource.MANUAL)] })).toBe(false)
  expect(alike(image, { tags: [] })).toBe(false)
})

test('a change goes on top of another one that it does not touch', () => {
  const from = create(ImageSchema, { numRepeats: 1, caption: 'x', tags: [tag('dog'), tag('red')] })
  const now = create(ImageSchema, { numRepeats: 3, caption: 'x', tags: [tag('dog'), tag('red'), tag('sofa')] })
  const labels = (change: ReturnType<typeof onTop>) => change?.tags?.map((each) => each.label)
  expect(labels(onTop({ tags: [tag('dog'), tag('cat')] }, from, now))).toEqual(['dog', 'sofa', 'cat'])
  expect(labels(onTop({ tags: [tag('dog'), tag('red'), tag('Sofa')] }, from, now))).toEqual(['dog', 'red', 'sofa'])
  expect(onTop({ caption: 'y' }, from, now)).toEqual({ caption: 'y' })
  expect(onTop({ numRepeats: 2 }, from, now)).toBeNull()
})
