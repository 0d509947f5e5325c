// The mask of one photo while it is being drawn, and the calls that read, suggest and keep it.
import { MaskSource, type Image } from '../gen/fiveshot/dataset/v1/dataset_pb'
import { faultOf, faultOfJson, OWN, tagger, type Fault } from './api'
import type { OpenDataset } from './dataset.svelte'
import type { Edits } from './edits.svelte'
import { maskOf } from './format'
import { both, covered, everything, fieldOf, filled, grey, marks, sizeFor, States, stroke, type Area, type Field, type Point } from './mask'

export class MaskDraft {
  /** Of the brush, across, as a share of the picture's longer side. */
  size = $state(0.12)
  /** The share of the brush that fades, 0 to 1. */
  soft = $state(0.4)
  paints = $state(true)
  /** What is drawn; null where the photo has no mask. Changed in place: `turn` says when. */
  field: Field | null = null
  turn = $state(0)
  /** The share that is marked; null without a mask. */
  share = $state<number | null>(null)
  steps = $state(0)
  /** True while something is drawn that the server does not have. */
  changed = $state(false)
  busy = $state<'' | 'reading' | 'asking' | 'keeping'>('')
  nothing = $state(false)
  fault = $state.raw<Fault | null>(null)
  #area: Area | null = null
  #image: Image | null = null
  #states = new States()
  /** The tagger whose suggestion this is, as long as nothing was drawn over it. */
  #tagger = ''
  #open: OpenDataset
  #edits: Edits

  constructor(open: OpenDataset, edits: Edits) {
    this.#open = open
    this.#edits = edits
  }

  /** Shows this photo's mask. What was drawn of another is kept first. */
  async show(image: Image): Promise<void> {
    if (this.#image?.name === image.name && (this.changed || this.#image.mask?.sha256 === image.mask?.sha256)) return
    const other = this.#image?.name !== image.name
    await this.keep()
    this.#image = image
    this.#states.clear()
    this.#put(null)
    this.changed = this.nothing = false
    if (other) this.fault = null
    if (!image.mask) return
    this.busy = 'reading'
    try {
      const answer = await fetch(maskOf(image.name, image.mask.sha256), { headers: OWN })
      if (!answer.ok) throw faultOfJson(answer.status, await answer.text())
      const field = await drawn(await answer.blob(), image)
      if (this.#image === image) this.#put(field)
    } catch (error) {
      if (this.#image === image) this.fault = isFault(error) ? error : faultOf(error)
    }
    if (this.#image === image) this.busy = ''
  }

  /** Before a stroke begins: where there is no mask, painting begins with nothing marked, taking away with all. */
  begin(): void {
    if (!this.#image) return
    this.#remember()
    if (!this.field) {
      const [width, height] = sizeFor(this.#image.width, this.#image.height)
      this.#put(filled(width, height, this.paints ? 0 : 255))
    }
    this.#tagger = ''
    this.nothing = false
  }

  /** from, to: shares of the picture's sides. */
  draw(from: Point, to: Point): void {
    const field = this.field
    if (!field) return
    const place = ({ x, y }: Point) => ({ x: x * field.width, y: y * field.height })
    const radius = Math.max(1, (this.size * Math.max(field.width, field.height)) / 2)
    this.#touch(stroke(field, place(from), place(to), { radius, soft: this.soft, paints: this.paints }))
    this.changed = true
  }

  /** What has changed since this was asked last; null for nothing. */
  changes(): Area | null {
    const area = this.#area
    this.#area = null
    return area
  }

  /** After a stroke. */
  end(): void {
    this.share = this.field && covered(this.field)
  }

  /** Takes the last stroke, suggestion or removal back. */
  back(): void {
    const before = this.#states.pop()
    this.steps = this.#states.length
    if (before === undefined) return
    this.#put(before)
    this.changed = true
    this.#tagger = ''
  }

  clear(): void {
    this.#remember()
    this.#put(null)
    this.changed = !!this.#image?.mask
  }

  async suggest(): Promise<void> {
    const image = this.#image
    if (!image) return
    this.busy = 'asking'
    this.fault = null
    this.nothing = false
    try {
      for await (const found of tagger.suggestMasks({ dataset: this.#open.name, images: [image.name] })) {
        if (this.#image !== image) return
        if (found.error) this.fault = { message: found.error.message, remedy: '', reason: '', fields: {}, away: false }
        else if (!found.png.length) this.nothing = true
        else {
          const field = await drawn(new Blob([found.png as BlobPart], { type: 'image/png' }), image)
          this.#remember()
          this.#put(field)
          this.#tagger = found.tagger
          this.changed = true
        }
      }
    } catch (error) {
      this.fault = faultOf(error)
    } finally {
      this.busy = ''
    }
  }

  /** Sends what was drawn, if anything was. True when the server has it. */
  async keep(): Promise<boolean> {
    const image = this.#image
    if (!image || !this.changed || this.busy === 'keeping') return !this.changed
    this.busy = 'keeping'
    this.fault = null
    // What marks nothing is no mask: the server would refuse it.
    const png = this.field && marks(this.field) ? await fileOf(this.field) : new Uint8Array()
    const source = this.#tagger ? MaskSource.SUGGESTED : MaskSource.UPLOADED
    const done = await this.#edits.masks([{ image, png, source, tagger: this.#tagger }])
    this.busy = ''
    if (done) {
      this.changed = false
      this.#image = this.#open.images.find((each) => each.name === image.name) ?? image
      if (!png.length) this.#put(null)
    } else this.fault = this.#edits.fault
    return done
  }

  #remember(): void {
    this.#states.push(this.field)
    this.steps = this.#states.length
  }

  #put(field: Field | null): void {
    this.field = field && { ...field, values: field.values.slice() }
    this.#area = null
    if (this.field) this.#touch(everything(this.field))
    else this.turn += 1
    this.share = this.field && covered(this.field)
    this.steps = this.#states.length
  }

  #touch(area: Area): void {
    this.#area = both(this.#area, area)
    this.turn += 1
  }
}

const isFault = (error: unknown): error is Fault => typeof error === 'object' && error !== null && 'remedy' in error

/** A PNG as a field of the photo's shape. */
async function drawn(file: Blob, image: Image): Promise<Field> {
  const picture = await createImageBitmap(file)
  const [width, height] = sizeFor(image.width, image.height)
  const context = sheet(width, height)
  context.drawImage(picture, 0, 0, width, height)
  return fieldOf(width, height, context.getImageData(0, 0, width, height).data)
}

async function fileOf(field: Field): Promise<Uint8Array<ArrayBuffer>> {
  const context = sheet(field.width, field.height)
  context.putImageData(new ImageData(grey(field), field.width, field.height), 0, 0)
  const file = await new Promise<Blob | null>((done) => context.canvas.toBlob(done, 'image/png'))
  if (!file) throw new Error('The browser made no PNG of the mask.')
  return new Uint8Array(await file.arrayBuffer())
}

function sheet(width: number, height: number): CanvasRenderingContext2D {
  const canvas = Object.assign(document.createElement('canvas'), { width, height })
  return canvas.getContext('2d', { willReadFrequently: true })!
}
