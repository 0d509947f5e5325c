import { describe, expect, it } from 'vitest'
import { captionText, sorted } from './drops'

const drop = (...paths: string[]) => sorted(paths.map((path) => ({ path, file: new File(['x'], path.split('/').pop() ?? '') })))
const told = (found: ReturnType<typeof sorted>) => found.photos.map((each) => [each.name, each.caption?.name ?? ''])

describe('sorted', () => {
  it('takes a text beside a photo as its caption, and .txt before .caption', () => {
    const found = drop('a.jpg', 'a.caption', 'A b.PNG', 'A b.TXT', 'a.txt')
    expect(told(found)).toEqual([['a.jpg', 'a.txt'], ['A b.PNG', 'A b.TXT']])
    expect(found.passed).toEqual(['a.caption'])
  })
  it('keeps captions to their folder', () => {
    expect(told(drop('one/a.jpg', 'two/a.jpg', 'two/a.txt'))).toEqual([['a.jpg', ''], ['a.jpg', 'a.txt']])
  })
  it('finds the caption of a name whose accents a Mac writes apart', () => {
    expect(told(drop('Hu\u0308ndchen.jpg', 'H\u00fcndchen.txt'))).toEqual([['Hu\u0308ndchen.jpg', 'H\u00fcndchen.txt']])
  })
  it('names what is no photo, and says nothing of hidden files', () => {
    const found = drop('.DS_Store', '__MACOSX/._a.jpg', '.git/a.jpg', 'Thumbs.db', 'orphan.txt', 'set.zip', 'masks/a.png', 'a-masklabel.png', 'a.png')
    expect(told(found)).toEqual([['a.png', '']])
    expect(found.passed).toEqual(['Thumbs.db', 'orphan.txt', 'set.zip', 'a.png', 'a-masklabel.png'])
  })
  it('tries what a person calls a photo, and stores .jfif as .jpg', () => {
    expect(told(drop('a.HEIC', 'b.dng', 'c.jfif'))).toEqual([['a.HEIC', ''], ['b.dng', ''], ['c.jpg', '']])
  })
})

describe('captionText', () => {
  const read = (...bytes: number[]) => captionText(new File([Uint8Array.from(bytes)], 'a.txt'))
  it('reads UTF-8 and what Windows calls Unicode', async () => {
    expect(await read(0xef, 0xbb, 0xbf, 0x20, 0xc3, 0xa4, 0x0a)).toBe('\u00e4')
    expect(await read(0xff, 0xfe, 0xe4, 0x00)).toBe('\u00e4')
    expect(await read(0xfe, 0xff, 0x00, 0xe4)).toBe('\u00e4')
    expect(await read()).toBe('')
  })
  it('refuses what is neither, or too long', async () => {
    await expect(read(0xe4, 0x20)).rejects.toThrow()
    await expect(captionText(new File(['x'.repeat(2001)], 'a.txt'))).rejects.toThrow()
  })
})
