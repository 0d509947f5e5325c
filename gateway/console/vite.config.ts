import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    // One script, one sheet: the gateway has a route for each file. No data: addresses, no polyfill that is inline.
    assetsInlineLimit: 0,
    modulePreload: false,
    rollupOptions: { output: { codeSplitting: false } },
  },
})
