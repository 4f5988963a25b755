// Builds the telephone over its fake engine, and the console as it is, for the tests in this folder only:
// `vite build -c tests/ui/vite.config.ts`.

import { resolve } from "node:path";
import preact from "@preact/preset-vite";
import { defineConfig } from "vite";
import { assetFileNames } from "../../vite.config";

const root = resolve(import.meta.dirname, "../..");

export default defineConfig({
  root,
  plugins: [preact()],
  build: {
    outDir: resolve(root, "dist/ui-tests"),
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1300,
    rollupOptions: {
      output: { assetFileNames },
      input: { phone: resolve(import.meta.dirname, "phone.html"), console: resolve(root, "console.html"), index: resolve(root, "index.html") },
    },
  },
});
