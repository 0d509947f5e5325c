// What was typed into the form of a try-out, kept in this tab: nothing is lost by a look elsewhere.
export interface Source {
  /** Resource name of an epoch or a version. */
  name: string
  /** Ticked at first. */
  first: boolean
  /** Recommended. */
  best: boolean
}

export interface TryDraft {
  picked: string[]
  prompts: string[]
  strengths: string
  seeds: string
  negative: string
  steps: string
  guidance: string
}

/** text: what was kept. first: what is ticked and asked for where nothing was. known: what can still be ticked. */
export function parse(text: string | null, first: Pick<TryDraft, 'picked' | 'prompts'>, known: string[]): TryDraft {
  const plain: TryDraft = { strengths: '0.6, 1', seeds: '', negative: '', steps: '', guidance: '', ...first }
  try {
    const found = JSON.parse(text ?? '') as Partial<Record<keyof TryDraft, unknown>>
    const word = (key: 'strengths' | 'seeds' | 'negative' | 'steps' | 'guidance') => (typeof found[key] === 'string' ? found[key] : plain[key])
    const words = (value: unknown) => (Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [])
    const picked = words(found.picked).filter((each) => known.includes(each))
    const prompts = words(found.prompts)
    return {
      picked: picked.length ? picked : plain.picked, prompts: prompts.length ? prompts : plain.prompts,
      strengths: word('strengths'), seeds: word('seeds'), negative: word('negative'), steps: word('steps'), guidance: word('guidance'),
    }
  } catch {
    return plain
  }
}
