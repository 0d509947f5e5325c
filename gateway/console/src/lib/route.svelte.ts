// Addresses live in the fragment: #/PROJECT/datasets/ID/photos. One page is all that the gateway must serve.
export type Screen = 'start' | 'photos' | 'words' | 'plan' | 'run' | 'choose' | 'keep' | 'compare' | 'try' | 'model' | 'operate'

export interface Route {
  project: string
  screen: Screen
  dataset: string
  job: string
  epoch: number
  /** The job beside `job`. */
  other: string
  model: string
  /** A preview request that is shown where things are tried out. */
  request: string
  /** The part of Operate; '' for the first. */
  tab: Tab
}

export const TABS = ['', 'webhooks', 'access', 'audit'] as const
export type Tab = (typeof TABS)[number]

export const DEFAULT_PROJECT = 'default'

export function parse(hash: string): Route {
  const [project, kind, id, screen, extra] = hash.replace(/^#\/?/, '').split('/').map(decode)
  const route: Route = { project: project || DEFAULT_PROJECT, screen: 'start', dataset: '', job: '', epoch: 0, other: '', model: '', request: '', tab: '' }
  if (kind === 'datasets' && id) {
    route.dataset = id
    route.screen = screen === 'words' || screen === 'plan' ? screen : 'photos'
  } else if (kind === 'jobs' && id) {
    route.job = id
    route.screen = screen === 'choose' || screen === 'keep' || screen === 'try' || (screen === 'compare' && extra) ? screen : 'run'
    if (route.screen === 'compare') route.other = extra ?? ''
    else if (route.screen === 'try') tried(route, extra)
    else route.epoch = Number(extra) || 0
  } else if (kind === 'models' && id) {
    route.model = id
    route.screen = screen === 'try' ? 'try' : 'model'
    if (screen === 'try') tried(route, extra)
  } else if (kind === 'operate') {
    route.screen = 'operate'
    route.tab = TABS.find((each) => each === id) ?? ''
  }
  return route
}

/** A number is an epoch or a version to begin with, a word a request. */
function tried(route: Route, extra = ''): void {
  if (/^\d+$/.test(extra)) route.epoch = Number(extra)
  else route.request = extra
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return ''
  }
}

/** What a screen is built for; another one is another screen. */
export const keyOf = (at: Route) => [at.project, at.screen, at.dataset, at.job, at.epoch, at.other, at.model].join('/')

let current = $state(parse(location.hash))

addEventListener('hashchange', () => {
  if (!location.hash.startsWith('#/sign-in/')) current = parse(location.hash)
})

export const route = () => current
export const parent = () => `projects/${current.project}`

export const links = {
  start: (project = current.project) => `#/${project}`,
  dataset: (id: string, screen: 'photos' | 'words' | 'plan' = 'photos') => `#/${current.project}/datasets/${id}/${screen}`,
  job: (id: string, screen: 'run' | 'choose' | 'keep' = 'run', epoch = 0) =>
    `#/${current.project}/jobs/${id}/${screen}${epoch ? `/${epoch}` : ''}`,
  compare: (id: string, other: string) => `#/${current.project}/jobs/${id}/compare/${other}`,
  tryJob: (id: string, extra = '') => `#/${current.project}/jobs/${id}/try${extra ? `/${extra}` : ''}`,
  tryModel: (id: string, extra = '') => `#/${current.project}/models/${id}/try${extra ? `/${extra}` : ''}`,
  operate: (tab: Tab = '') => `#/${current.project}/operate${tab ? `/${tab}` : ''}`,
  model: (id: string) => `#/${current.project}/models/${id}`,
}

export function go(address: string): void {
  location.hash = address
}
