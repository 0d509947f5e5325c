// @vitest-environment node
import { beforeAll, describe, expect, it, vi } from 'vitest'

// The page's own state reads the browser's; here there is none.
beforeAll(() => {
  vi.stubGlobal('localStorage', { getItem: () => null, setItem: () => undefined })
  vi.stubGlobal('document', { documentElement: { dataset: {} } })
  vi.stubGlobal('navigator', { language: 'en' })
  vi.stubGlobal('location', { hash: '' })
  vi.stubGlobal('addEventListener', () => undefined)
})

describe('format', async () => {
  it('makes ids out of names', async () => {
    const { slug, triggerFor } = await import('./format')
    expect(slug('Our dog Rex!')).toBe('our-dog-rex')
    expect(slug('豆豆')).toBe('')
    expect(slug('Hündchen 🐶')).toBe('hundchen')
    expect(slug('3 Mugs – é')).toBe('mugs-e')
    expect(slug('a'.repeat(47) + ' b')).toMatch(/^[a-z][a-z0-9-]*[a-z0-9]$/)
    expect(triggerFor('Teapot')).toBe('tptx')
    expect(triggerFor('豆豆')).toBe('sks')
  })
  it('says sizes, times and losses briefly', async () => {
    const { digits, duration, size } = await import('./format')
    expect([size(999), size(1500n), size(4_600_000)]).toEqual(['999 B', '1.5 KB', '4.6 MB'])
    expect([duration(0.2), duration(61), duration(600), duration(12_000)]).toEqual(['1 s', '61 s', '10 min', '3 h 20 min'])
    expect([digits(0.12345), digits(12.3), digits(1e-5), digits(NaN)]).toEqual(['0.123', '12.30', '1.0e-5', '–'])
  })
  it('puts what a file is called into the address, whatever it is', async () => {
    const { fileOf } = await import('./format')
    expect(fileOf('projects/a/models/b/versions/1', 'x&y=z')).toBe('/v1/projects/a/models/b/versions/1:download?file_id=x%26y%3Dz')
  })
})

describe('route', async () => {
  it('reads addresses, and takes a damaged one for the start', async () => {
    const { parse } = await import('./route.svelte')
    expect(parse('#/acme/datasets/dogs/words')).toMatchObject({ project: 'acme', screen: 'words', dataset: 'dogs' })
    expect(parse('#/acme/jobs/j1/keep/4')).toMatchObject({ screen: 'keep', job: 'j1', epoch: 4 })
    expect(parse('#/acme/models/m')).toMatchObject({ screen: 'model', model: 'm' })
    for (const odd of ['', '#', '#/%E0%A4%A', '#/acme/nothing/x']) expect(parse(odd).screen).toBe('start')
  })
})
