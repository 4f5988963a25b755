// Builds the fake telephone page beside the real pages, for the tests in this folder only: `vite build -c tests/ui/vite.config.ts`.

import { resolve } from "node:path";
import preact from "@preact/preset-vite";
import { defineConfig } from "vite";

const here = import.meta.dirname;

export default defineConfig({
  root: here,
  publicDir: resolve(here, "../../public"),
  plugins: [preact()],
  build: {
    outDir: resolve(here, "../../dist/ui-tests"),
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: { phone: resolve(here, "phone.html") } },
  },
});
