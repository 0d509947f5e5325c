// A dataset with its images as the screens show it.
import { onDestroy } from 'svelte'
import type { Dataset, Image } from '../gen/fiveshot/dataset/v1/dataset_pb'
import { all, datasets, faultOf, type Fault } from './api'
import { atDataset, atFault } from './place.svelte'
import { parent, route } from './route.svelte'
import { session } from './session.svelte'

export class OpenDataset {
  readonly name: string
  set = $state.raw<Dataset | null>(null)
  images = $state.raw<Image[]>([])
  loaded = $state(false)
  fault = $state.raw<Fault | null>(null)
  /** Changes on their way: what is shown goes before what a reading would find. */
  changing = 0
  #stop = new AbortController()

  constructor() {
    this.name = `${parent()}/datasets/${route().dataset}`
    void this.load()
    void atDataset(route().dataset)
    const { signal } = this.#stop
    addEventListener('focus', this.#look, { signal })
    document.addEventListener('visibilitychange', this.#look, { signal })
    onDestroy(() => this.#stop.abort())
  }

  /** Back from another window or tab: what was changed there is shown here. */
  #look = async (): Promise<void> => {
    if (!this.set || this.changing || document.visibilityState !== 'visible' || session.state !== 'in') return
    try {
      const { etag } = await datasets.getDataset({ name: this.name })
      if (etag !== this.set.etag && !this.changing) await this.load()
    } catch (error) {
      atFault(faultOf(error))
    }
  }

  load = async (): Promise<void> => {
    this.fault = null
    try {
      const [set, images] = await Promise.all([
        datasets.getDataset({ name: this.name }),
        all(async (pageToken) => {
          const page = await datasets.listImages({ parent: this.name, pageSize: 500, pageToken })
          return [page.images, page.nextPageToken]
        }),
      ])
      this.set = set
      // As a folder shows them: uploads run side by side, so their order says nothing.
      this.images = images.sort((a, b) => a.fileName.localeCompare(b.fileName, undefined, { numeric: true }))
      this.loaded = true
    } catch (error) {
      this.fault = atFault(faultOf(error))
    }
  }

  /** Puts the answer of a change in the image's place. */
  put(changed: Image): void {
    this.images = this.images.map((image) => (image.name === changed.name ? changed : image))
  }

  /** Changes the dataset itself; the texts of its images follow, so they are read again. No etag: every change of an image makes another. */
  async change(fields: Partial<Pick<Dataset, 'displayName' | 'triggerWord' | 'subject' | 'textFrom' | 'numRepeats'>>, paths: string[]): Promise<void> {
    this.set = await datasets.updateDataset({ dataset: { name: this.name, ...fields }, updateMask: { paths } })
    await this.load()
  }
}
