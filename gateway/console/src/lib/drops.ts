// What of the files that somebody drops or chooses is a photo, and what is the caption of one. The rules are those of
// `fiveshot.layouts`, which the command line and archives go by.

/** file: the photo. name: as it is stored. caption: the file with its caption, "" where none lies beside it. */
export interface Photo {
  file: File
  name: string
  caption: File | null
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
const MOST = 2000

const MASK = /(^|\/)masks?\/[^/]*\.png$|-masklabel\.png$/i

const hidden = (path: string) => path.split('/').some((part) => part.startsWith('.') || part === '__MACOSX')
const isPhoto = (path: string) => PICTURE.test(path) && !MASK.test(path)
const stem = (path: string) => path.replace(/\.[^./]*$/, '').normalize('NFC')

/** The photos with their captions, and the names of what is passed over; hidden files go without a word. */
export function sorted(dropped: Dropped[]): { photos: Photo[]; passed: string[] } {
  const seen = dropped.filter((each) => !hidden(each.path))
  const captions = new Map<string, Dropped>()
  for (const ending of CAPTIONS) {
    for (const each of seen) {
      if (ending.test(each.path) && !captions.has(stem(each.path))) captions.set(stem(each.path), each)
    }
  }
  const pictures = seen.filter((each) => isPhoto(each.path))
  const used = new Set(pictures.map((each) => captions.get(stem(each.path))))
  return {
    photos: pictures.map((each) => ({
      file: each.file,
      name: each.file.name.replace(/\.(jfif|jpe)$/i, '.jpg'),
      caption: captions.get(stem(each.path))?.file ?? null,
    })),
    passed: seen.filter((each) => !isPhoto(each.path) && !used.has(each)).map((each) => each.file.name),
  }
}

/** A caption's text: UTF-8, or UTF-16 that begins with its mark. Throws where it is neither, or too long. */
export async function captionText(file: File): Promise<string> {
  const bytes = new Uint8Array(await file.arrayBuffer())
  const wide = { '255,254': 'utf-16le', '254,255': 'utf-16be' }[bytes.slice(0, 2).join()]
  const text = new TextDecoder(wide ?? 'utf-8', { fatal: true }).decode(bytes).trim()
  if (text.length > MOST) throw new RangeError(file.name)
  return text
}
