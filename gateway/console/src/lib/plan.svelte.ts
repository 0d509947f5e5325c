// A training as it is being planned, kept in this browser for each dataset: nothing typed is lost between screens or by
// a reload. The base model is chosen here too, because crops, audit and token counts depend on it.
import { BaseModel_State as State, type BaseModel } from '../gen/fiveshot/trainer/v1/base_model_pb'
import { faultOf, trainer, type Fault } from './api'
import { empty, parse, type Draft } from './draft'
import { loadOwn, ownBaseModels } from './ownBaseModels.svelte'
import { asked as named } from './mix'
import { message } from './parameters'
import { PRESET, presetOf } from './presets'

const offer = $state<{ models: BaseModel[]; fault: Fault | null }>({ models: [], fault: null })
let asked: Promise<void> | null = null

/** The base models on offer, asked for once a visit, and those of the project's own that are ready. */
export function baseModels(): BaseModel[] {
  return [...offer.models, ...ownBaseModels().models.filter((each) => each.state === State.READY)]
}
/** Those of the catalogue alone. */
export const catalogue = () => offer.models
export const offerFault = () => offer.fault

export function loadModels(): Promise<void> {
  asked ??= trainer.listBaseModels({}).then(
    (page) => void Object.assign(offer, { models: page.baseModels, fault: null }),
    (error) => {
      asked = null
      offer.fault = faultOf(error)
    },
  )
  return asked
}

export class Plan {
  draft = $state<Draft>(empty())
  #key: string
  #dataset: string

  constructor(dataset: string) {
    this.#dataset = dataset
    this.#key = `plan:${dataset}`
    this.draft = parse(localStorage.getItem(this.#key))
    void loadModels()
    void loadOwn(dataset.split('/').slice(0, 2).join('/'))
    $effect(() => {
      localStorage.setItem(this.#key, JSON.stringify(this.draft))
    })
  }

  /** The chosen base model; where none is, or it is gone, the first that a worker can load. */
  get model(): BaseModel | undefined {
    if (this.draft.base.startsWith('projects/') && !ownBaseModels().loaded) return undefined
    const models = baseModels()
    return models.find((each) => each.name === this.draft.base) ?? models.find((each) => each.available) ?? models[0]
  }

  /** The job as it would be created, on all the datasets that are planned. */
  whole(displayName: string) {
    const datasets = named(this.#dataset, this.draft.weight, this.draft.others)
    return datasets.length ? { ...this.job(displayName), datasetVersion: '', datasets } : this.job(displayName)
  }

  /** The job as it would be on this dataset alone: what is looked at and counted here concerns its own photos. */
  job(displayName: string) {
    const specs = this.model?.parameterSpecs ?? []
    const { title, chosen, epochs, repeats, prompts, from } = this.draft
    return {
      displayName: title.trim() || displayName,
      baseModel: this.model?.name ?? '',
      datasetVersion: this.#dataset,
      initialLora: from,
      // A preset of another base model's would be refused here.
      parameters: message({ ...chosen, [PRESET]: presetOf(chosen, specs), num_epochs: epochs, num_repeats: repeats }, specs, prompts),
    }
  }
}
