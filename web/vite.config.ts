// Three pages, built into the Python package: the server serves them as they are, from its own origin, under a strict content policy.

import { resolve } from "node:path";
import preact from "@preact/preset-vite";
import { defineConfig } from "vite";

const root = import.meta.dirname;

/** A worker that is fetched by its address keeps its name, but as `.js`: not every machine's table of file types knows `.mjs`. */
export function assetFileNames({ names }: { names: string[] }): string {
  return names[0]?.endsWith(".mjs") ? "assets/[name]-[hash].js" : "assets/[name]-[hash][extname]";
}

export default defineConfig({
  root,
  base: "/",
  plugins: [preact()],
  build: {
    outDir: resolve(root, "../src/tramontana/control/static"),
    emptyOutDir: true,
    target: "es2022",
    // nothing inlined as data: or as inline script: `default-src 'self'` would refuse it
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // MapLibre is one file of about 1 MB, fetched by the console alone, from the server next door
    chunkSizeWarningLimit: 1300,
    rollupOptions: {
      output: { assetFileNames },
      input: {
        index: resolve(root, "index.html"),
        phone: resolve(root, "phone.html"),
        console: resolve(root, "console.html"),
      },
    },
  },
  worker: { format: "es" },
});
