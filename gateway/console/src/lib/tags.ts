// Changes of an image's tags, and the way back.
import { create } from '@bufbuild/protobuf'
import { TagSchema, TagSource, type Image, type Tag } from '../gen/fiveshot/dataset/v1/dataset_pb'

/** Labels are equal without regard to case, and an underscore is a space: as the dataset service compares them. */
export const plain = (label: string) => label.trim().replaceAll('_', ' ').toLowerCase()

export const has = (tags: Tag[], label: string) => tags.some((tag) => plain(tag.label) === plain(label))

/** Labels out of what was typed: commas part them; those that are there already are left out. */
export function typed(tags: Tag[], text: string): Tag[] {
  const found = [...tags]
  for (const label of text.split(/[,，\n]/).map((each) => each.trim()).filter(Boolean)) {
    if (!has(found, label)) found.push(create(TagSchema, { label: label.slice(0, 100), source: TagSource.MANUAL }))
  }
  return found
}

export const without = (tags: Tag[], label: string) => tags.filter((tag) => tag.label !== label)

/** Their tags with my change of mine: what I took away is gone, what I added comes last. */
export function merged(before: Tag[], mine: Tag[], theirs: Tag[]): Tag[] {
  const kept = theirs.filter((tag) => has(mine, tag.label) || !has(before, tag.label))
  return [...kept, ...mine.filter((tag) => !has(before, tag.label) && !has(kept, tag.label))]
}

/** How often each label occurs, most frequent first. */
export function tally(images: Image[]): [string, number][] {
  const counts = new Map<string, number>()
  for (const image of images) for (const tag of image.tags) counts.set(tag.label, (counts.get(tag.label) ?? 0) + 1)
  return [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]))
}

/** The automatic tags that a threshold would drop, and of how many images. */
export function below(images: Image[], threshold: number): { tags: number; images: number } {
  const counts = images.map((image) => image.tags.filter((tag) => weak(tag, threshold)).length)
  return { tags: counts.reduce((sum, count) => sum + count, 0), images: counts.filter(Boolean).length }
}

/** Only what a model predicted has a score; what a person wrote or pixels say stays. */
export const weak = (tag: Tag, threshold: number) => tag.source === TagSource.AUTO && tag.score < threshold
