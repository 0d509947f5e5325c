// What people do beside the straight way: node edges.mjs ADDRESS ANOTHER DATASET JOB MODEL
//
// ADDRESS and ANOTHER: what `fiveshot console` prints, twice. DATASET, JOB, MODEL: ids of what a training has left. Two
// tabs on one dataset, a session that ends while one types, texts as long as they may be, the way back and forth, a reload
// and an address of something that is gone, of every screen. Ends with 1 and a sentence when something is not right.
import assert from 'node:assert/strict'
import { start } from './browser.mjs'

const [address, another, dataset, job, model] = process.argv.slice(2)
const VIEWS = [['en', 'light', 1280, 860], ['zh-CN', 'dark', 360, 740]]
const { context, page, complaints, faults, look, run } = await start(process.env.EDGE_SHOTS ?? '')
const OWN = { 'x-fiveshot-console': '1', 'content-type': 'application/json' }
const home = new URL(address).origin
const at = (hash) => `${home}/#/default${hash && `/${hash}`}`
const patch = (name, body, mask) =>
  page.evaluate(([path, value, headers]) => fetch(path, { method: 'PATCH', headers, body: JSON.stringify(value) }).then((answer) => (answer.ok ? 200 : answer.text())), [`/v1/${name}?update_mask=${mask}`, body, OWN])
const read = (path) => page.evaluate(([address_, headers]) => fetch(address_, { headers }).then((answer) => answer.json()), [`/v1/projects/default/${path}`, OWN])
/** As when somebody comes back to the window. */
const comeBack = (where) => where.evaluate(() => dispatchEvent(new Event('focus')))

await run(async () => {
  await page.goto(address)
  await page.getByRole('heading', { name: 'Drop photos' }).waitFor()
  const { images } = await read(`datasets/${dataset}/images`)
  images.sort((one, other) => one.fileName.localeCompare(other.fileName))
  await patch(images[0].name, { caption: '', tags: [] }, 'caption,tags')

  // Two tabs on the words of one dataset.
  await page.goto(at(`datasets/${dataset}/words`))
  const first = page.locator('article').first()
  const text = first.getByRole('textbox', { name: /^Caption of/ })
  await first.getByRole('button', { name: 'Caption', exact: true }).click()
  await text.fill('mine, half written')
  const tab = await context.newPage()
  tab.setDefaultTimeout(240_000)
  await tab.goto(page.url())
  const theirs = tab.locator('article').first()
  await theirs.getByRole('button', { name: 'Caption', exact: true }).click()
  await theirs.getByRole('textbox', { name: /^Caption of/ }).fill('theirs')
  await tab.keyboard.press('Tab')
  await theirs.locator('.final', { hasText: 'theirs' }).waitFor()
  await comeBack(page)
  await first.locator('.final', { hasText: 'theirs' }).waitFor()
  assert.equal(await text.inputValue(), 'mine, half written', 'what is being typed is gone')
  await text.press('Tab')
  await first.getByText('changed elsewhere meanwhile').waitFor()
  assert.equal(await text.inputValue(), 'mine, half written', 'what was typed is gone')
  await text.fill('mine, whole')
  await text.press('Tab')
  await first.locator('.final', { hasText: 'mine, whole' }).waitFor()
  // The other tab knows nothing of it yet: its tags go on top, and its change of many takes nothing back.
  await theirs.getByPlaceholder('Add a tag').fill('from the other tab')
  await tab.keyboard.press('Enter')
  await theirs.locator('.final', { hasText: 'mine, whole' }).waitFor()
  await comeBack(page)
  await first.getByRole('button', { name: 'from the other tab', exact: true }).waitFor()
  await patch(images[0].name, { name: images[0].name, tags: [{ label: 'quick', source: 'TAG_SOURCE_MANUAL' }, { label: 'sure', source: 'TAG_SOURCE_AUTO', score: 0.9 }] }, 'tags')
  await tab.close()

  // The session ends while one types; the same one signs in in another tab, and goes on.
  await page.reload()
  const adding = first.getByPlaceholder('Add a tag')
  await adding.fill('typed before')
  await page.locator('article').nth(1).getByPlaceholder('Add a tag').fill('not sent yet')
  await context.clearCookies()
  await adding.press('Enter')
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  await page.getByText('Your session has ended').waitFor()
  await page.getByLabel('Or enter an API key').fill('fs_wrong')
  await page.keyboard.press('Enter')
  await page.getByRole('alert').first().waitFor()
  await look('over', { views: VIEWS, whole: false, pictures: false })
  const door = await context.newPage()
  await door.goto(another)
  await door.getByRole('heading', { name: 'Drop photos' }).waitFor()
  await door.close()
  const stored = page.waitForResponse((answer) => answer.url().endsWith('/UpdateImage') && answer.status() === 200)
  await comeBack(page)
  await page.getByRole('heading', { name: 'Sign in' }).waitFor({ state: 'detached' })
  assert.equal(await page.locator('article').nth(1).getByPlaceholder('Add a tag').inputValue(), 'not sent yet', 'what was typed is gone')
  await stored
  await page.reload()
  await first.getByRole('button', { name: 'typed before', exact: true }).waitFor()

  // Texts as long as they may be, without a space to break at.
  const long = (letter, count) => letter.repeat(count)
  assert.equal(await patch(`projects/default/datasets/${dataset}`, { display_name: long('N', 120), trigger_word: long('t', 40), subject: long('s', 80) }, 'display_name,trigger_word,subject'), 200)
  assert.equal(await patch(images[0].name, { tags: Array.from({ length: 12 }, (_, number) => ({ label: `${number}${long('g', 97)}`, source: 'TAG_SOURCE_MANUAL' })), caption: long('字', 400) }, 'tags,caption'), 200)
  const named = await page.evaluate(async ([set, headers]) => {
    const pixels = await new Promise((done) => Object.assign(document.createElement('canvas'), { width: 300, height: 200 }).toBlob(done))
    const file = encodeURIComponent(`${'文'.repeat(60)}.png`)
    return (await fetch(`/v1/projects/default/datasets/${set}/images:upload?file_name=${file}`, { method: 'POST', headers: { ...headers, 'content-type': 'image/png' }, body: pixels })).status
  }, [dataset, OWN])
  assert.equal(named, 200)
  for (const [screen, ready] of [['', 'h1'], [`datasets/${dataset}/photos`, '[data-tile] img'], [`datasets/${dataset}/words`, 'article'], [`datasets/${dataset}/plan`, 'aside .time, aside [role=alert]']]) {
    await page.goto('about:blank')
    await page.goto(at(screen))
    await page.locator(ready).first().waitFor()
    await page.waitForLoadState('networkidle')
    await look(`long ${screen}`, { views: VIEWS })
  }

  // Each screen: there after a reload, on the way back and on the way forth again.
  const screens = [
    '', `datasets/${dataset}/photos`, `datasets/${dataset}/words`, `datasets/${dataset}/plan`, `jobs/${job}/run`, `jobs/${job}/choose`, `jobs/${job}/try`,
    `jobs/${job}/compare/${job}`, `jobs/${job}/keep`, `models/${model}`, `models/${model}/try`, 'operate', 'operate/webhooks', 'operate/access', 'operate/audit',
  ]
  // Until the answer is there a heading holds the id, or nothing of the name yet.
  const here = async (hash) => {
    const there = ([wanted, ids]) => location.href === wanted && document.querySelector('main h1') && !ids.includes(document.querySelector('main h1').textContent) && !document.querySelector('main [role=alert]')
    await page.waitForFunction(there, [at(hash), [dataset, job, model, 'Try it out ']])
    return page.locator('main h1').first().textContent()
  }
  await page.goto('about:blank')
  const titles = []
  for (const hash of screens) {
    await page.goto(at(hash))
    await here(hash)
    await page.waitForLoadState('networkidle')
    titles.push(await here(hash))
    await page.reload()
    await here(hash)
    await page.waitForLoadState('networkidle')
    assert.equal(await here(hash), titles.at(-1), `${hash} is another after a reload`)
    await look(hash || 'start', { views: VIEWS })
  }
  for (const hash of screens.slice(0, -1).reverse()) {
    await page.goBack()
    await here(hash)
  }
  for (const hash of screens.slice(1)) {
    await page.goForward()
    await here(hash)
  }
  assert.equal(await page.locator('main h1').first().textContent(), titles.at(-1))

  // Addresses of what is not there, and of a word that is none.
  const gone = ['photos', 'words', 'plan'].map((each) => `datasets/no-such-thing/${each}`)
  gone.push(...['run', 'choose', 'keep', 'try', `compare/${job}`].map((each) => `jobs/no-such-thing/${each}`), `jobs/${job}/compare/no-such-thing`, 'models/no-such-thing', 'models/no-such-thing/try')
  for (const hash of gone) {
    await page.goto(at(hash))
    await page.getByRole('heading', { name: 'This is not there' }).waitFor()
  }
  await look('gone', { views: VIEWS })
  await page.goto(at(`jobs/${job}/keep/999`))
  await page.getByRole('button', { name: 'Keep this epoch' }).waitFor()
  assert.ok(await page.getByRole('button', { name: 'Keep this epoch' }).isEnabled(), 'an epoch that is gone blocks the screen')
  await page.goto(at('operate/no-such-tab'))
  await page.getByRole('heading', { name: 'Usage and budgets' }).waitFor()
  await page.goto(at('%E0%A4%A'))
  await page.getByRole('heading', { name: 'Drop photos' }).waitFor()

  // The dataset goes while it is shown: the page says so when one comes back to it.
  await page.goto(at(`datasets/${dataset}/photos`))
  await page.locator('[data-tile] img').first().waitFor()
  await page.evaluate(([set, headers]) => fetch(`/v1/projects/default/datasets/${set}?force=true`, { method: 'DELETE', headers }), [dataset, OWN])
  await comeBack(page)
  await page.getByRole('heading', { name: 'This is not there' }).waitFor()

  assert.deepEqual(complaints, [], 'the browser complained')
  assert.deepEqual(faults, [], 'screens have faults')
  console.log('been beside the straight way')
})
