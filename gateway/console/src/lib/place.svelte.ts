// Where in the work one is: the dataset and the job of the present screen, so that the rail leads back and forth.
import { all, trainer, type Fault } from './api'
import { datasetOf, idOf } from './format'
import { keyOf, parent, route } from './route.svelte'

const place = $state({ dataset: '', job: '', epochs: 0, project: '' })
const lost = $state({ key: '' })

/** Whether what the present address names is not there. */
export const isGone = () => lost.key === keyOf(route())

/** Called by the screens with what their first call failed with. */
export function atFault(fault: Fault): Fault {
  if (fault.gone) lost.key = keyOf(route())
  return fault
}

export const whereabouts = () => place

/** Called by the screens of a job, once it is known. */
export function atJob(job: { name: string; datasetVersion: string; epochsCompleted: number }): void {
  Object.assign(place, {
    dataset: datasetOf(job.datasetVersion), job: idOf(job.name), epochs: job.epochsCompleted, project: route().project,
  })
}

/** Called by the screens of a dataset: finds its newest job, if it has one. */
export async function atDataset(dataset: string): Promise<void> {
  if (place.dataset === dataset && place.project === route().project) return
  Object.assign(place, { dataset, job: '', epochs: 0, project: route().project })
  const filter = `dataset_version:"datasets/${dataset}/versions/"`
  const jobs = await all(async (pageToken) => {
    const page = await trainer.listTrainingJobs({ parent: parent(), filter, pageSize: 20, pageToken })
    return [page.trainingJobs, '']
  }).catch(() => [])
  const newest = jobs.find((job) => datasetOf(job.datasetVersion) === dataset)
  if (newest && place.dataset === dataset) atJob(newest)
}
