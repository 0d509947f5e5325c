// A short walk, without training: node glance.mjs ADDRESS PHOTOS
//
// ADDRESS: what `fiveshot console` prints, of a stack with a dataset `full` of a hundred photos. PHOTOS: a folder of
// pictures. Ends with 1 and a sentence when something is not as it should be.
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { start } from './browser.mjs'

const MOST = 60
const [address, photos] = process.argv.slice(2)
const { page, complaints, faults, look, drop, jumps, run } = await start('')
const mounted = () => page.locator('main [data-tile]').count()

await run(async () => {
  const home = new URL(address).origin
  await page.goto(address)
  await page.getByRole('heading', { name: 'Drop photos' }).waitFor()
  await look('start')

  // A hundred photos: never more than sixty mounted, and yet the last one can be reached, by keys alone.
  await page.goto(`${home}/#/default/datasets/full/photos`)
  await page.getByText('100 photos', { exact: true }).waitFor()
  await page.locator('[data-tile="0"] .picture').focus()
  const most = [await mounted()]
  for (let turn = 0; turn < 60 && !(await page.locator('[data-tile="99"]').count()); turn += 1) {
    await page.keyboard.press('ArrowDown')
    await page.evaluate(() => new Promise(requestAnimationFrame))
    most.push(await mounted())
  }
  await page.locator('[data-tile="99"]').waitFor()
  assert.ok(Math.max(...most) <= MOST, `${Math.max(...most)} photos are mounted`)
  assert.match(await page.locator('[data-tile="99"]').getAttribute('aria-setsize'), /^100$/)
  assert.ok(await page.evaluate(() => document.activeElement.closest('[data-tile]')), 'the focus is lost')

  // What comes later pushes nothing down that is there. Up to 0.1 counts as steady (web.dev/articles/cls).
  for (const [hash, ready] of [['photos', '[data-tile="0"]'], ['words', '.final .badge'], ['plan', 'aside .time, aside [role=alert]']]) {
    const moved = await jumps(`${home}/#/default/datasets/full/${hash}`, ready)
    assert.ok(moved.value <= 0.1, `${hash} jumps by ${moved.value.toFixed(3)}: ${moved.what}`)
  }

  // Names, tags and captions are text, whatever they hold.
  await page.goto(`${home}/#/default`)
  const names = await readdir(photos)
  await drop(photos, names)
  await page.getByLabel('Name').fill('<script>window.hacked=1</script>')
  await page.getByRole('button', { name: /Create and upload/ }).click()
  await page.getByText(`${names.length} photo`).first().waitFor()
  await page.getByText('to look at').waitFor()
  await look('photos')
  await page.getByRole('link', { name: 'On to the words' }).click()
  const first = page.locator('article').first()
  await first.getByPlaceholder('Add a tag').fill('<img src=x onerror="window.hacked=1">')
  await page.keyboard.press('Enter')
  await first.getByRole('button', { name: 'Caption', exact: true }).click()
  await first.getByRole('textbox', { name: /^Caption of/ }).fill('"><svg onload="window.hacked=1"> ${7*7}')
  await page.keyboard.press('Tab')
  await first.getByText('Trained on:').locator('..').getByText('<svg onload=').waitFor()
  // Tags of a model with their scores: a higher threshold needs no new run, and is taken back as one step.
  const labels = await page.evaluate(async () => {
    const own = { 'x-fiveshot-console': '1', 'content-type': 'application/json' }
    const set = /datasets\/([^/]+)/.exec(location.hash)[1]
    const { images } = await (await fetch(`/v1/projects/default/datasets/${set}/images`, { headers: own })).json()
    const tags = [0.2, 0.4, 0.9].map((score) => ({ label: `sure ${score}`, source: 'TAG_SOURCE_AUTO', score }))
    for (const { name } of images) await fetch(`/v1/${name}?update_mask=tags`, { method: 'PATCH', headers: own, body: JSON.stringify({ name, tags }) })
    return tags.map((tag) => tag.label)
  })
  await page.reload()
  await page.getByRole('slider', { name: 'Keep tags from certainty' }).fill('0.5')
  await page.getByRole('button', { name: `Drop ${2 * names.length} tags of ${names.length} photos` }).click()
  const pills = (label) => page.locator('.chip', { hasText: label })
  await pills(labels[1]).first().waitFor({ state: 'detached' })
  assert.equal(await pills(labels[2]).count(), names.length)
  await page.locator('h1').click()
  await page.keyboard.press('Control+z')
  await pills(labels[0]).nth(names.length - 1).waitFor()
  await look('words')
  await page.getByRole('link', { name: 'On to the plan' }).click()
  await page.locator('aside .time, aside [role=alert]').first().waitFor()
  await look('plan', { views: [['zh-CN', 'dark', 360, 740]] })
  await page.getByRole('link', { name: 'Operate' }).click()
  await page.getByRole('heading', { name: 'Usage and budgets' }).waitFor()
  await look('operate')

  assert.equal(await page.evaluate(() => window.hacked), undefined, 'a text ran as a script')
  assert.deepEqual(complaints, [], 'the browser complained')
  assert.deepEqual(faults, [], 'screens have faults')
  console.log('glanced at the screens')
})
