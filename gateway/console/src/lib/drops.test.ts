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
    // Both are masks of a.png; one counts.
    expect(found.passed).toEqual(['Thumbs.db', 'orphan.txt', 'set.zip', 'a.png'])
  })
  it('finds captions in any case, as the command line does', () => {
    expect(told(drop('IMG_1.JPG', 'img_1.txt'))).toEqual([['IMG_1.JPG', 'img_1.txt']])
  })
  it('finds masks beside a photo, in a folder beside it and in one beside its own', () => {
    const masks = (...paths: string[]) => drop(...paths).photos.map((each) => [each.name, each.mask?.name ?? ''])
    expect(masks('a.jpg', 'A-MaskLabel.png', 'masks/a.png')).toEqual([['a.jpg', 'A-MaskLabel.png']])
    expect(masks('set/a.jpg', 'set/mask/a.png', 'set/b.jpg')).toEqual([['a.jpg', 'a.png'], ['b.jpg', '']])
    expect(masks('set/5_cat/a.jpg', 'set/masks/a.png')).toEqual([['a.jpg', 'a.png']])
    expect(drop('a.jpg', 'masks/b.png').passed).toEqual(['b.png'])
    // A folder of masks alone is one of photos.
    expect(masks('masks/a.png')).toEqual([['a.png', '']])
  })
  it('takes the repeats from the nearest folder that names them', () => {
    const repeats = (path: string) => drop(path).photos[0]?.repeats
    expect(repeats('5_sks cat/a.jpg')).toBe(5)
    expect(repeats('set/10_dog/rest/a.jpg')).toBe(10)
    expect(repeats('2_a/3_b/a.jpg')).toBe(3)
    for (const path of ['a.jpg', '2024_holiday/a.jpg', '0_x/a.jpg', '5_/a.jpg', 'x5_cat/a.jpg', '5_cat.jpg']) expect(repeats(path)).toBe(0)
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
