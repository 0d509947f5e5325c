// What was before each change, newest last. A step is what one press did, of however many images.
import type { Image } from '../gen/fiveshot/dataset/v1/dataset_pb'
import { boxOf, same } from './crop'
import { merged } from './tags'

export type Change = Partial<Pick<Image, 'tags' | 'caption' | 'captionOrigin' | 'crop' | 'numRepeats'>>
/** Of each field its path in an update mask. */
export const PATHS: Record<keyof Change, string> = { tags: 'tags', caption: 'caption', captionOrigin: 'caption_origin', crop: 'crop', numRepeats: 'num_repeats' }
/** What images were before, or the name of an edit that the server takes back whole, as it does with masks. */
export type Step = [name: string, before: Change][] | string

const MOST = 200

export class History {
  #steps: Step[] = []

  push(step: Step): void {
    this.#steps.push(step)
    if (this.#steps.length > MOST) this.#steps.shift()
  }

  get length(): number {
    return this.#steps.length
  }

  pop(): Step | undefined {
    return this.#steps.pop()
  }
}

/** Whether the change would change nothing. */
export function alike(image: Image, change: Change): boolean {
  if (change.caption !== undefined && change.caption !== image.caption) return false
  if (change.numRepeats !== undefined && change.numRepeats !== image.numRepeats) return false
  if ('crop' in change && !same(boxOf(change.crop), boxOf(image.crop))) return false
  if (change.tags === undefined) return true
  const labels = (tags: Image['tags']) => tags.map((tag) => `${tag.source} ${tag.label}`).join('\n')
  return labels(change.tags) === labels(image.tags)
}

/** A change of an image on top of what somebody else has made of it meanwhile; null where both changed the same. */
export function onTop(change: Change, from: Image, now: Image): Change | null {
  const { tags, ...others } = change
  const untouched = Object.fromEntries(Object.keys(others).map((field) => [field, from[field as keyof Change]])) as Change
  if (!alike(now, untouched)) return null
  return tags ? { ...others, tags: merged(from.tags, tags, now.tags) } : others
}
