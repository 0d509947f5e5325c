// A dataset with its images as the screens show it.
import type { Dataset, Image } from '../gen/fiveshot/dataset/v1/dataset_pb'
import { all, datasets, faultOf, type Fault } from './api'
import { atDataset } from './place.svelte'
import { parent, route } from './route.svelte'

export class OpenDataset {
  readonly name: string
  set = $state.raw<Dataset | null>(null)
  images = $state.raw<Image[]>([])
  loaded = $state(false)
  fault = $state.raw<Fault | null>(null)

  constructor() {
    this.name = `${parent()}/datasets/${route().dataset}`
    void this.load()
    void atDataset(route().dataset)
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
      this.fault = faultOf(error)
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
