// A short walk, without training: node glance.mjs ADDRESS PHOTOS KOHYA
//
// ADDRESS: what `fiveshot console` prints, of a stack with a dataset `full` of a hundred photos. PHOTOS: a folder of
// pictures. KOHYA: a folder `3_WORDS` with a picture, its caption `a small toy` and its mask, and a file `notes.pdf`.
// Ends with 1 and a sentence when something is not as it should be.
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { start } from './browser.mjs'

const MOST = 60
const [address, photos, kohya] = process.argv.slice(2)
const { page, complaints, faults, look, drop, dropFolder, jumps, paint, run } = await start('')
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

  // A mask by hand and by keys, a stroke taken back; saved, and taken back as a whole.
  const dialog = page.getByRole('dialog')
  await page.locator('[data-tile="0"] .picture').click()
  await paint()
  const share = dialog.getByText(/^Marks/)
  const marked = await share.textContent()
  await dialog.getByRole('application').focus()
  await page.keyboard.press('x')
  await page.keyboard.down('Space')
  for (let turn = 0; turn < 4; turn += 1) await page.keyboard.press('ArrowLeft')
  await page.keyboard.up('Space')
  assert.notEqual(await share.textContent(), marked, 'keys draw nothing')
  await page.keyboard.press('Control+z')
  assert.equal(await share.textContent(), marked, 'the stroke is not taken back')
  await look('mask', { whole: false, views: [['en', 'light', 1280, 860], ['zh-CN', 'dark', 360, 740]] })
  await dialog.getByRole('button', { name: 'Save the mask' }).click()
  await dialog.getByText('not saved yet').waitFor({ state: 'detached' })
  await page.keyboard.press('Escape')
  const badge = page.getByText(/^mask \d+ %$/)
  await badge.waitFor()
  await page.reload()
  await badge.waitFor()
  await page.locator('[data-tile="0"] .picture').click()
  await dialog.getByRole('button', { name: 'Mask', exact: true }).click()
  await dialog.getByText(marked.trim()).waitFor()
  await dialog.getByRole('button', { name: 'Remove', exact: true }).click()
  await page.keyboard.press('Escape')
  await badge.waitFor({ state: 'detached' })
  await page.locator('h1').click()
  await page.keyboard.press('Control+z')
  await badge.waitFor()

  await page.getByRole('link', { name: 'On to the words' }).click()
  const first = page.locator('article').first()
  await first.getByPlaceholder('Add a tag').fill('<img src=x onerror="window.hacked=1">')
  await page.keyboard.press('Enter')
  await first.getByRole('button', { name: 'Caption', exact: true }).click()
  await first.getByRole('textbox', { name: /^Caption of/ }).fill('"><svg onload="window.hacked=1"> ${7*7}')
  await page.keyboard.press('Tab')
  await first.getByText('Trained on:').locator('..').getByText('<svg onload=').waitFor()
  await page.getByLabel('Trained is').selectOption({ label: 'the tags alone' })
  await first.locator('.final').filter({ hasText: '<img src=x', hasNotText: '<svg onload=' }).waitFor()
  await page.getByLabel('Trained is').selectOption({ label: 'the caption alone' })
  await first.getByText('Trained on:').locator('..').getByText('<svg onload=').waitFor()
  // Somebody else was faster: neither change is lost.
  await page.evaluate(async () => {
    const own = { 'x-fiveshot-console': '1', 'content-type': 'application/json' }
    const set = /datasets\/([^/]+)/.exec(location.hash)[1]
    const { images } = await (await fetch(`/v1/projects/default/datasets/${set}/images`, { headers: own })).json()
    for (const { name, tags } of images) {
      const body = JSON.stringify({ name, tags: [...(tags ?? []), { label: 'theirs', source: 'TAG_SOURCE_MANUAL' }] })
      await fetch(`/v1/${name}?update_mask=tags`, { method: 'PATCH', headers: own, body })
    }
  })
  await first.getByPlaceholder('Add a tag').fill('mine')
  await page.keyboard.press('Enter')
  for (const label of ['theirs', 'mine']) await first.getByRole('button', { name: label, exact: true }).waitFor()
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

  // A webhook that nobody answers: refused where it may not go, its secret shown once, a test that says why, the list of what was sent.
  await page.getByRole('link', { name: 'Webhooks' }).click()
  await page.getByRole('button', { name: 'Add a webhook' }).click()
  await page.getByLabel('Address').fill('http://10.0.0.1/')
  await page.getByLabel('Name').fill('<img src=x onerror="window.hacked=1">')
  await page.getByRole('button', { name: 'Create' }).click()
  await page.getByRole('alert').getByText('not public').waitFor()
  await page.getByLabel('Address').fill('http://127.0.0.1:1/')
  await page.getByRole('button', { name: 'Create' }).click()
  const secret = page.getByRole('textbox', { name: 'Secret of the webhook' })
  assert.match(await secret.inputValue(), /^whsec_/)
  await page.getByRole('button', { name: 'I have kept it' }).click()
  await page.getByRole('button', { name: 'Send a test' }).click()
  await page.getByText('not reached').first().waitFor()
  await page.getByText('Deliveries', { exact: true }).click()
  await page.locator('article ul details summary').first().click()
  await page.getByLabel('What is sent').getByText('fiveshot.webhook.test').waitFor()
  await look('webhooks', { views: [['en', 'light', 1280, 860], ['zh-CN', 'dark', 360, 740]] })
  await page.getByRole('button', { name: 'New secret' }).click()
  await page.getByRole('button', { name: 'Make a new secret' }).click()
  assert.match(await secret.inputValue(), /^whsec_/)
  await page.getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('alertdialog').getByRole('button', { name: 'Delete' }).click()
  await page.getByText('No webhook yet').waitFor()
  await page.getByRole('link', { name: 'Audit log' }).click()
  await page.getByRole('textbox', { name: 'What' }).fill('Webhook')
  await page.getByText('DeleteWebhook').first().waitFor()
  await look('audit', { views: [['en', 'light', 1280, 860], ['zh-CN', 'dark', 360, 740]] })

  // A folder as other tools have it: its repeats, the caption and the mask come with the photo, the rest is named.
  await page.goto(`${home}/#/default`)
  await page.getByRole('heading', { name: 'Drop photos' }).waitFor()
  assert.match(await page.locator('input[type=file]').getAttribute('accept'), /\.txt/)
  await dropFolder(kohya)
  await page.getByText(/^Passed over.*: notes\.pdf\.$/).waitFor()
  await page.getByLabel('Name').fill('Toys of a folder')
  await page.getByRole('button', { name: /Create and upload/ }).click()
  await page.getByText(/^mask \d+ %$/).waitFor()
  await page.getByText('×3', { exact: true }).waitFor()
  await page.getByRole('link', { name: 'On to the words' }).click()
  await page.locator('article .final').filter({ hasText: 'a small toy' }).waitFor()

  assert.equal(await page.evaluate(() => window.hacked), undefined, 'a text ran as a script')
  assert.deepEqual(complaints, [], 'the browser complained')
  assert.deepEqual(faults, [], 'screens have faults')
  console.log('glanced at the screens')
})
