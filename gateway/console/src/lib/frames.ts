// Work in small pieces: a frame does one, or the few that take less than its time, so that none holds up the page.

const FRAME_MS = 2

/** Calls `piece` once a frame or more, until it says that there is nothing left. Returns what asks for more, and what ends it. */
export function eachFrame(piece: () => boolean): { ask: () => void; end: () => void } {
  let frame = 0
  function run(): void {
    const begun = performance.now()
    let left = piece()
    while (left && performance.now() - begun < FRAME_MS) left = piece()
    frame = left ? requestAnimationFrame(run) : 0
  }
  return {
    ask: () => void (frame ||= requestAnimationFrame(run)),
    end: () => cancelAnimationFrame(frame),
  }
}
