// What of the files that somebody drops or chooses is a photo, what is the caption or the mask of one, and how often it is
// trained. The rules are those of `fiveshot.layouts`, which the command line and archives go by.

/** file: the photo. name: as it is stored. caption, mask: the files with them, null where there is none. repeats: as its folder's name says, 0 leaves the dataset's. */
export interface Photo {
  file: File
  name: string
  caption: File | null
  mask: File | null
  repeats: number
}

/** What is dropped, with its place in the folder that it was dropped in. */
export interface Dropped {
  file: File
  path: string
}

// The last ones are no photos to the service, but to whoever drops them: the refusal says what to do.
const PICTURE = /\.(jpe?g|jpe|jfif|png|webp|heic|heif|gif|bmp|tiff?|avif|svg|jxl|raw|cr[23]|nef|arw|dng|raf|orf|rw2)$/i
// In the order in which they count.
const CAPTIONS = [/\.txt$/i, /\.caption$/i]
/** What a file dialog offers: photos, and the texts and masks beside them. */
export const OFFERED = 'image/png,image/jpeg,.txt,.caption'
const MOST = 2000
const MOST_REPEATS = 1000

const MASK_FOLDER = /(^|\/)masks?\/[^/]*\.png$/i
const MASK_ENDING = /-masklabel(?=\.png$)/i

const hidden = (path: string) => path.split('/').some((part) => part.startsWith('.') || part === '__MACOSX')
const isMask = (path: string) => MASK_FOLDER.test(path) || MASK_ENDING.test(path)
const stem = (path: string) => path.replace(/\.[^./]*$/, '').normalize('NFC')
const above = (path: string) => path.split('/').slice(0, -1).join('/')
/** Of two files, whether they lie in one folder and are called alike up to the ending, in any case. */
const key = (folder: string, path: string) => `${folder}/${(stem(path).split('/').pop() ?? '').toLowerCase()}`
const beside = (path: string) => key(above(path), path)

/** The photos with what belongs to each, and the names of what is passed over; hidden files go without a word. */
export function sorted(dropped: Dropped[]): { photos: Photo[]; passed: string[] } {
  const seen = dropped.filter((each) => !hidden(each.path))
  const captions = new Map<string, Dropped>()
  for (const ending of CAPTIONS) {
    for (const each of seen) {
      if (ending.test(each.path) && !captions.has(beside(each.path))) captions.set(beside(each.path), each)
    }
  }
  const all = seen.filter((each) => PICTURE.test(each.path))
  const unlike = all.filter((each) => !isMask(each.path))
  // Where all look like masks, a folder of that name holds photos.
  const pictures = unlike.length ? unlike : all
  const masks = masksAmong(unlike.length ? seen.filter((each) => isMask(each.path)) : [])
  const maskOf = (path: string) => masks.get(beside(path)) ?? masks.get(key(above(above(path)), path))
  const used = new Set(pictures.flatMap((each) => [each, captions.get(beside(each.path)), maskOf(each.path)]))
  return {
    photos: pictures.map((each) => ({
      file: each.file,
      name: each.file.name.replace(/\.(jfif|jpe)$/i, '.jpg'),
      caption: captions.get(beside(each.path))?.file ?? null,
      mask: maskOf(each.path)?.file ?? null,
      repeats: repeatsOf(above(each.path)),
    })),
    passed: seen.filter((each) => !used.has(each)).map((each) => each.file.name),
  }
}

/** Masks by the folder and the name of their photo. `a-masklabel.png` counts before `masks/a.png`. */
function masksAmong(files: Dropped[]): Map<string, Dropped> {
  const found = new Map<string, Dropped>()
  for (const each of files) {
    const named = each.path.replace(MASK_ENDING, '')
    if (named !== each.path) found.set(beside(named), each)
  }
  for (const each of files) {
    const at = key(above(above(each.path)), each.path)
    if (!MASK_ENDING.test(each.path) && !found.has(at)) found.set(at, each)
  }
  return found
}

/** Those of the nearest folder that names them, as kohya's `5_sks cat`; 0 where none does. A year is no number of repeats. */
function repeatsOf(folder: string): number {
  for (const part of folder.split('/').reverse()) {
    const count = Number(/^(\d{1,4})_(.+)$/.exec(part)?.[1] ?? 0)
    if (count >= 1 && count <= MOST_REPEATS) return count
  }
  return 0
}

/** A caption's text: UTF-8, or UTF-16 that begins with its mark. Throws where it is neither, or too long. */
export async function captionText(file: File): Promise<string> {
  const bytes = new Uint8Array(await file.arrayBuffer())
  const wide = { '255,254': 'utf-16le', '254,255': 'utf-16be' }[bytes.slice(0, 2).join()]
  const text = new TextDecoder(wide ?? 'utf-8', { fatal: true }).decode(bytes).trim()
  if (text.length > MOST) throw new RangeError(file.name)
  return text
}
