// Changes of a dataset's images, shown at once and sent in order, and the way back from each.
import { type Image, type MaskSource } from '../gen/fiveshot/dataset/v1/dataset_pb'
import { datasets, faultOf, type Fault } from './api'
import type { OpenDataset } from './dataset.svelte'
import { t } from './ui.svelte'
import { alike, History, onTop, PATHS, type Change, type Step } from './history'

const HUNDRED = 100
/** png: empty takes the mask away. tagger: who suggested it; empty for one drawn by hand. */
export interface MaskChange {
  image: Image
  png: Uint8Array<ArrayBuffer>
  source: MaskSource
  tagger: string
}
/** By the dataset's name: what was changed on one screen can be taken back on another. */
const histories = new Map<string, History>()

export class Edits {
  /** So many steps can be taken back. */
  steps = $state(0)
  busy = $state(false)
  /** By the image's name: why its last change was refused. */
  faults = $state<Record<string, Fault>>({})
  /** By the image's name: a caption that was refused, so that it can be mended rather than typed again. */
  texts = $state<Record<string, string>>({})
  /** Tags that were refused, as they were typed. */
  typed = $state<Record<string, string>>({})
  /** Why a change of many was refused. */
  fault = $state.raw<Fault | null>(null)
  #open: OpenDataset
  #history: History
  // Changes of one image go one after the other: each needs the etag that the one before has made.
  #lines: Record<string, Promise<void>> = {}
  #waiting: Record<string, number> = {}

  constructor(open: OpenDataset) {
    this.#open = open
    this.#history = histories.get(open.name) ?? new History()
    histories.set(open.name, this.#history)
    this.steps = this.#history.length
  }

  /** Of one image. Shown at once; the server's answer takes its place. since: the caption that a new one was typed over. */
  write(image: Image, change: Change, { remember = true, since }: { remember?: boolean; since?: string } = {}): void {
    const now = this.#now(image)
    // Another tab, or somebody else, was faster. Neither text is lost: theirs is stored, this one stays in the field.
    if (since !== undefined && now.caption !== since && now.caption !== change.caption) {
      this.texts[now.name] = change.caption ?? ''
      this.faults[now.name] = { message: t().words.meanwhile(now.caption), remedy: t().words.meanwhileMore, reason: '', fields: {}, away: false }
      return
    }
    if (alike(now, change)) return
    delete this.faults[now.name]
    delete this.texts[now.name]
    delete this.typed[now.name]
    if (remember) this.#keep([[now.name, before(now, change)]])
    const origin = 'caption' in change && !('captionOrigin' in change) ? { captionOrigin: undefined } : {}
    this.#open.put({ ...now, ...origin, ...change, ...('crop' in change ? { previousCrop: now.crop } : {}) })
    this.#waiting[now.name] = (this.#waiting[now.name] ?? 0) + 1
    this.#open.changing += 1
    this.#lines[now.name] = (this.#lines[now.name] ?? Promise.resolve()).then(() => this.#send(now.name, change, now)).finally(() => void (this.#open.changing -= 1))
  }

  /** Of many images, as one step: all or, of each hundred, nothing. True when all went through. */
  async many(changes: [Image, Change][], remember = true): Promise<boolean> {
    const real = changes.filter(([image, change]) => !alike(image, change))
    if (!real.length) return true
    this.busy = true
    this.fault = null
    const done: [Image, Change][] = []
    try {
      await Promise.all(real.map(([image]) => this.#lines[image.name]))
      for (let from = 0; from < real.length; from += HUNDRED) {
        const some = real.slice(from, from + HUNDRED)
        const answer = await this.#batch(some)
        answer.images.forEach((image) => this.#open.put(image))
        done.push(...some)
      }
    } catch (error) {
      this.fault = faultOf(error)
    }
    if (remember && done.length) this.#keep(done.map(([image, change]) => [image.name, before(image, change)]))
    this.busy = false
    return done.length === real.length
  }

  /** Changes that somebody else's came before go on top of theirs; where both changed the same, none of the hundred is made. */
  async #batch(some: [Image, Change][]) {
    const send = (changes: [Image, Change][]) =>
      datasets.batchUpdateImages({
        parent: this.#open.name,
        requests: changes.map(([image, change]) => ({ image: { name: image.name, etag: this.#now(image).etag, ...change }, updateMask: { paths: pathsOf(change) } })),
      })
    try {
      return await send(some)
    } catch (error) {
      if (faultOf(error).reason !== 'ETAG_MISMATCH') throw error
      await this.#open.load()
      const again = some.flatMap(([image, change]): [Image, Change][] => {
        const top = onTop(change, image, this.#now(image))
        return top ? [[image, top]] : []
      })
      if (again.length < some.length) throw error
      return send(again)
    }
  }

  /** Of one image or many, as one step; of each hundred all or none. True when all went through. */
  async masks(changes: MaskChange[]): Promise<boolean> {
    this.busy = true
    this.fault = null
    const names = changes.map(({ image }) => image.name)
    try {
      await Promise.all(names.map((name) => this.#lines[name]))
      for (let from = 0; from < changes.length; from += HUNDRED) {
        const some = changes.slice(from, from + HUNDRED)
        const send = () => {
          const requests = some.map(({ image, png, source, tagger }) => ({ name: image.name, png, source, tagger, etag: this.#now(image).etag }))
          return datasets.batchSetImageMasks({ parent: this.#open.name, requests })
        }
        const answer = await send().catch(async (error) => {
          if (faultOf(error).reason !== 'ETAG_MISMATCH') throw error
          await this.#open.load()
          // Only another mask is in the way of a mask; the next try is made knowing of it.
          if (some.some(({ image }) => this.#now(image).mask?.sha256 !== image.mask?.sha256)) throw error
          return send()
        })
        answer.images.forEach((image) => this.#open.put(image))
        if (answer.edit) this.#keep(answer.edit)
      }
      return true
    } catch (error) {
      this.fault = faultOf(error)
      return false
    } finally {
      this.busy = false
    }
  }

  /** After a change that the server made to many at once: what they were before. */
  async compare(earlier: Image[]): Promise<void> {
    await this.#open.load()
    const now = new Map(this.#open.images.map((image) => [image.name, image]))
    const step: [string, Change][] = []
    for (const image of earlier) {
      const fields: Change = { tags: image.tags, caption: image.caption, captionOrigin: image.captionOrigin, crop: image.crop }
      const found = now.get(image.name)
      if (found && !alike(found, fields)) step.push([image.name, fields])
    }
    if (step.length) this.#keep(step)
  }

  /** Takes the last step back. */
  async back(): Promise<void> {
    const step = this.#history.pop()
    this.steps = this.#history.length
    if (typeof step === 'string') return this.#undo(step)
    const found = (step ?? []).flatMap(([name, change]): [Image, Change][] => {
      const image = this.#open.images.find((each) => each.name === name)
      return image ? [[image, change]] : []
    })
    if (found.length === 1) this.write(found[0]![0], found[0]![1], { remember: false })
    else if (!(await this.many(found, false)) && step) this.#keep(step)
  }

  /** An edit that was overtaken cannot be taken back any more: its step is gone, and the server says why. */
  async #undo(edit: string): Promise<void> {
    this.busy = true
    this.fault = null
    try {
      await datasets.undoEdit({ name: edit })
      await this.#open.load()
    } catch (error) {
      this.fault = faultOf(error)
    }
    this.busy = false
  }

  #now(image: Image): Image {
    return this.#open.images.find((each) => each.name === image.name) ?? image
  }

  #keep(step: Step): void {
    this.#history.push(step)
    this.steps = this.#history.length
  }

  /** from: the image as it was when the change was made. */
  async #send(name: string, change: Change, from: Image): Promise<void> {
    const known = this.#open.images.find((each) => each.name === name)
    try {
      const answer = await update(name, known?.etag ?? '', change).catch(async (error) => {
        // Somebody else was faster: what does not touch theirs goes on top of it.
        const now = faultOf(error).reason === 'ETAG_MISMATCH' ? await datasets.getImage({ name }) : null
        const again = now && onTop(change, from, now)
        if (!again) throw error
        return update(name, now.etag, again)
      })
      this.#waiting[name]! -= 1
      const shown = this.#open.images.find((each) => each.name === name)
      const later = this.#waiting[name] && shown ? { tags: shown.tags, caption: shown.caption, captionOrigin: shown.captionOrigin, crop: shown.crop, numRepeats: shown.numRepeats } : {}
      this.#open.put({ ...answer, ...later })
    } catch (error) {
      this.#waiting[name]! -= 1
      this.faults[name] = faultOf(error)
      if (change.caption !== undefined) this.texts[name] = change.caption
      const added = change.tags?.filter((tag) => !from.tags.some((each) => each.label === tag.label)) ?? []
      if (added.length) this.typed[name] = added.map((tag) => tag.label).join(', ')
      await datasets.getImage({ name }).then((now) => this.#open.put(now)).catch(() => undefined)
    }
  }
}

const pathsOf = (change: Change) => Object.keys(change).map((field) => PATHS[field as keyof Change]!)

const update = (name: string, etag: string, change: Change) =>
  datasets.updateImage({ image: { name, etag, ...change }, updateMask: { paths: pathsOf(change) } })

function before(image: Image, change: Change): Change {
  // A caption goes back to whoever wrote it.
  const fields = new Set([...Object.keys(change), ...('caption' in change ? ['captionOrigin'] : [])])
  return Object.fromEntries([...fields].map((field) => [field, image[field as keyof Change]])) as Change
}
