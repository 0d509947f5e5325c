// Addresses live in the fragment: #/PROJECT/datasets/ID/photos. One page is all that the gateway must serve.
export type Screen = 'start' | 'photos' | 'words' | 'plan' | 'run' | 'choose' | 'keep' | 'compare' | 'model' | 'operate'

export interface Route {
  project: string
  screen: Screen
  dataset: string
  job: string
  epoch: number
  /** The job beside `job`. */
  other: string
  model: string
  /** The part of Operate; '' for the first. */
  tab: Tab
}

export const TABS = ['', 'webhooks', 'access', 'audit'] as const
export type Tab = (typeof TABS)[number]

export const DEFAULT_PROJECT = 'default'

export function parse(hash: string): Route {
  const [project, kind, id, screen, extra] = hash.replace(/^#\/?/, '').split('/').map(decode)
  const route: Route = { project: project || DEFAULT_PROJECT, screen: 'start', dataset: '', job: '', epoch: 0, other: '', model: '', tab: '' }
  if (kind === 'datasets' && id) {
    route.dataset = id
    route.screen = screen === 'words' || screen === 'plan' ? screen : 'photos'
  } else if (kind === 'jobs' && id) {
    route.job = id
    route.screen = screen === 'choose' || screen === 'keep' || (screen === 'compare' && extra) ? screen : 'run'
    if (route.screen === 'compare') route.other = extra ?? ''
    else route.epoch = Number(extra) || 0
  } else if (kind === 'models' && id) {
    route.model = id
    route.screen = 'model'
  } else if (kind === 'operate') {
    route.screen = 'operate'
    route.tab = TABS.find((each) => each === id) ?? ''
  }
  return route
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return ''
  }
}

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
  operate: (tab: Tab = '') => `#/${current.project}/operate${tab ? `/${tab}` : ''}`,
  model: (id: string) => `#/${current.project}/models/${id}`,
}

export function go(address: string): void {
  location.hash = address
}
