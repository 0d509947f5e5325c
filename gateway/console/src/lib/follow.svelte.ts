// A job as it runs: a snapshot, then every event. A broken line is taken up again with the last token, so nothing is
// missed and nothing counted twice.
import { ListMetricsRequestSchema } from '../gen/fiveshot/trainer/v1/training_service_pb'
import { TrainingJob_State as State, type Epoch, type TrainingJob } from '../gen/fiveshot/trainer/v1/training_job_pb'
import type { TrainingJobEvent } from '../gen/fiveshot/trainer/v1/training_event_pb'
import { create } from '@bufbuild/protobuf'
import { all, faultOf, trainer, type Fault } from './api'

const PAGE = 10_000
const QUEUE_MS = 4000
const METRICS_MS = 1000
const PAUSES_MS = [500, 1000, 2000, 4000, 8000]

export const ENDED = [State.SUCCEEDED, State.FAILED, State.CANCELLED]
export const ended = (job: TrainingJob | null) => !!job && ENDED.includes(job.state)

export class Follow {
  job = $state.raw<TrainingJob | null>(null)
  epochs = $state.raw<Epoch[]>([])
  eta = $state(0)
  away = $state(false)
  fault = $state.raw<Fault | null>(null)
  /** Steps, losses; replaced when points arrive. */
  points = $state.raw<{ steps: number[]; losses: number[]; epochs: number[] }>({ steps: [], losses: [], epochs: [] })

  #name: string
  #token = ''
  #stop = new AbortController()
  #line: AbortController | null = null
  #metricsDue = false
  #fetching = false

  constructor(name: string) {
    this.#name = name
    void this.#run()
    addEventListener('online', this.#wake)
    document.addEventListener('visibilitychange', this.#wake)
  }

  close(): void {
    this.#stop.abort()
    this.#line?.abort()
    removeEventListener('online', this.#wake)
    document.removeEventListener('visibilitychange', this.#wake)
  }

  /** After a command: the answer is the job as it is now. */
  take(job: TrainingJob): void {
    const reopened = ended(this.job) && !ended(job)
    this.job = job
    if (reopened) void this.#run()
  }

  #pause: (() => void) | null = null
  #wake = () => {
    if (document.visibilityState === 'visible') this.#pause?.()
  }

  async #run(): Promise<void> {
    let failures = 0
    const queue = setInterval(() => this.job?.state === State.QUEUED && void this.#look(), QUEUE_MS)
    this.#stop.signal.addEventListener('abort', () => clearInterval(queue))
    while (!this.#stop.signal.aborted) {
      try {
        this.#line = new AbortController()
        const call = { name: this.#name, resumeToken: this.#token }
        for await (const message of trainer.watchTrainingJob(call, { signal: this.#line.signal })) {
          failures = 0
          this.away = false
          this.#token = message.resumeToken
          if (message.update.case === 'job') await this.#snapshot(message.update.value)
          else if (message.update.case === 'event') this.#event(message.update.value)
        }
        await this.#look()
        if (ended(this.job)) break
      } catch (error) {
        if (this.#stop.signal.aborted) break
        const fault = faultOf(error)
        if (!fault.away && failures > 0) {
          this.fault = fault
          break
        }
        this.away = true
      }
      const pause = PAUSES_MS[Math.min(failures++, PAUSES_MS.length - 1)]
      await new Promise<void>((done) => {
        this.#pause = done
        setTimeout(done, pause)
      })
    }
    clearInterval(queue)
  }

  async #look(): Promise<void> {
    try {
      this.job = await trainer.getTrainingJob({ name: this.#name })
      await this.#metrics()
    } catch {
      // The watch says what is wrong.
    }
  }

  async #snapshot(job: TrainingJob): Promise<void> {
    this.job = job
    this.epochs = await all(async (pageToken) => {
      const page = await trainer.listEpochs({ parent: this.#name, pageSize: 500, pageToken })
      return [page.epochs, page.nextPageToken]
    })
    await this.#metrics()
  }

  #event(event: TrainingJobEvent): void {
    if (!this.job) return
    const job = { ...this.job, state: event.state }
    const payload = event.payload
    if (payload.case === 'progress') {
      const { step, totalSteps, loss, imagesPerSecond, phase, etaSeconds } = payload.value
      Object.assign(job, { step, totalSteps, loss: loss || job.loss, imagesPerSecond, phase })
      this.eta = etaSeconds
      this.#soon()
    } else if (payload.case === 'stateChanged') {
      job.error = payload.value.error
      void this.#look()
    } else if (payload.case === 'epochCompleted' && payload.value.epoch) {
      const epoch = payload.value.epoch
      this.epochs = [...this.epochs.filter((each) => each.name !== epoch.name), epoch]
      job.epochsCompleted = this.epochs.length
      this.#soon()
    } else if (payload.case === 'basePreviewsCompleted') {
      job.basePreviews = payload.value.previews
    }
    this.job = job
  }

  #soon(): void {
    if (this.#metricsDue) return
    this.#metricsDue = true
    setTimeout(() => {
      this.#metricsDue = false
      void this.#metrics().catch(() => undefined)
    }, METRICS_MS)
  }

  async #metrics(): Promise<void> {
    if (this.#fetching) return
    this.#fetching = true
    try {
      const { steps, losses, epochs } = this.points
      const grown = { steps: [...steps], losses: [...losses], epochs: [...epochs] }
      let since = BigInt(steps.at(-1) ?? 0)
      for (;;) {
        const asks = create(ListMetricsRequestSchema, { parent: this.#name, key: 'loss', sinceStep: since, pageSize: PAGE })
        const page = await trainer.listMetrics(asks)
        for (const point of page.metrics) {
          const step = Number(point.step)
          // A job that resumes from an earlier epoch walks some steps again.
          if (step <= (grown.steps.at(-1) ?? 0)) continue
          grown.steps.push(step)
          grown.losses.push(point.value)
          grown.epochs.push(point.epoch)
        }
        if (!page.nextSinceStep) break
        since = page.nextSinceStep
      }
      if (grown.steps.length > steps.length) this.points = grown
    } finally {
      this.#fetching = false
    }
  }
}
