import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: { testTimeout: 60_000 }, // What is slow is to read the files, on a machine that is busy.
  plugins: [svelte()],
  build: {
    target: 'es2022',
    // One script, one sheet: the gateway has a route for each file. No data: addresses, no polyfill that is inline.
    assetsInlineLimit: 0,
    modulePreload: false,
    rollupOptions: { output: { codeSplitting: false } },
  },
})
