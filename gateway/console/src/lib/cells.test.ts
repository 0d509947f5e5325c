import { create } from '@bufbuild/protobuf'
import { describe, expect, it } from 'vitest'
import { PreviewCellSchema } from '../gen/fiveshot/trainer/v1/preview_request_pb'
import { cellsOf, gridOf, numbers } from './cells'

const cell = (index: number) => create(PreviewCellSchema, { index })

describe('gridOf', () => {
  it('puts each cell where its number says, by source, strength, prompt, seed', () => {
    const grid = gridOf({ sources: ['a', 'b'], strengths: [0.5, 1], prompts: ['x', 'y'], seeds: [1n, 2n, 3n] }, [cell(0), cell(5), cell(6), cell(23)])
    expect(grid.rows).toEqual([{ source: 'a', strength: 0.5 }, { source: 'a', strength: 1 }, { source: 'b', strength: 0.5 }, { source: 'b', strength: 1 }])
    expect(grid.columns[4]).toEqual({ prompt: 'y', seed: 2n })
    expect(grid.at(0, 0)?.index).toBe(0)
    expect(grid.at(0, 5)?.index).toBe(5)
    expect(grid.at(1, 0)?.index).toBe(6)
    expect(grid.at(3, 5)?.index).toBe(23)
    expect(grid.at(2, 0)).toBeUndefined()
  })
  it('takes strength 1 and seed 0 where none are given, as the server does', () => {
    const grid = gridOf({ sources: ['a'], strengths: [], prompts: ['x'], seeds: [] }, [])
    expect(grid.rows).toEqual([{ source: 'a', strength: 1 }])
    expect(grid.columns).toEqual([{ prompt: 'x', seed: 0n }])
    expect(cellsOf(1, 0, 1, 0)).toBe(1)
    expect(cellsOf(2, 3, 2, 1)).toBe(12)
  })
})

describe('numbers', () => {
  it('reads what people type', () => {
    expect(numbers('0.6, 0.8 1', 0, 2)).toEqual([0.6, 0.8, 1])
    expect(numbers('0.6，0.8、1,1', 0, 2)).toEqual([0.6, 0.8, 1])
    expect(numbers('', 0, 2)).toEqual([])
  })
  it('says no to what is none, or out of bounds', () => {
    expect(numbers('0.6, much', 0, 2)).toBeNull()
    expect(numbers('3', 0, 2)).toBeNull()
    expect(numbers('1.5', 0, 10, true)).toBeNull()
    expect(numbers('-1', 0, 10, true)).toBeNull()
  })
})
