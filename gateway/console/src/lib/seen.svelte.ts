// What a job would train on: of each picture the part that the model sees, its text and its tokens.
import type { TrainingPicture } from '../gen/fiveshot/trainer/v1/training_picture_pb'
import { AGAIN_MS, faultOf, trainer, type Fault } from './api'
import { signedIn } from './session.svelte'

type Asked = Parameters<typeof trainer.previewTraining>[0]['trainingJob']
const PAUSE_MS = 500

export class Seen {
  /** By the image's name. */
  facts = $state.raw<Record<string, TrainingPicture>>({})
  /** Addresses of the pictures, by the image's name; given back by close(). */
  urls = $state.raw<Record<string, string>>({})
  /** The same of their masks, where the job uses them. */
  masks = $state.raw<Record<string, string>>({})
  fault = $state.raw<Fault | null>(null)
  busy = $state(false)
  #timer = 0
  #stop = new AbortController()

  /** Asks soon; a later question takes the place of one that waits or runs. */
  ask(parent: string, trainingJob: Asked, withoutPictures: boolean): void {
    clearTimeout(this.#timer)
    this.#stop.abort()
    this.busy = true
    const stop = (this.#stop = new AbortController())
    this.#timer = window.setTimeout(async () => {
      const facts: Record<string, TrainingPicture> = {}
      const urls: Record<string, string> = {}
      const masks: Record<string, string> = {}
      try {
        for await (const { picture, mask, ...rest } of trainer.previewTraining({ parent, trainingJob, withoutPictures }, { signal: stop.signal })) {
          facts[rest.image] = { ...rest, picture: new Uint8Array(), mask: new Uint8Array() }
          if (picture.length) {
            urls[rest.image] = URL.createObjectURL(new Blob([picture as BlobPart], { type: 'image/jpeg' }))
            if (mask.length) masks[rest.image] = URL.createObjectURL(new Blob([mask as BlobPart], { type: 'image/png' }))
            this.masks = { ...this.masks, ...masks }
            this.facts = { ...this.facts, ...facts }
            this.urls = { ...this.urls, ...urls }
          }
        }
        if (stop.signal.aborted) return
        this.#put(facts, urls, masks)
        this.fault = null
      } catch (error) {
        if (stop.signal.aborted) return
        this.fault = faultOf(error)
        if (this.fault.away || (this.fault.out && (await signedIn()))) this.#timer = window.setTimeout(() => this.ask(parent, trainingJob, withoutPictures), AGAIN_MS)
      }
      this.busy = false
    }, PAUSE_MS)
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#stop.abort()
    this.#put({}, {}, {})
  }

  #put(facts: Record<string, TrainingPicture>, urls: Record<string, string>, masks: Record<string, string>): void {
    const kept = new Set([...Object.values(urls), ...Object.values(masks)])
    for (const url of [...Object.values(this.urls), ...Object.values(this.masks)]) if (!kept.has(url)) URL.revokeObjectURL(url)
    this.facts = facts
    this.urls = urls
    this.masks = masks
  }
}
