// Tests run in Node, which has WebCrypto; nothing here needs a browser (the system test drives real ones).
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { environment: "node", include: ["tests/**/*.test.ts"], testTimeout: 20_000 },
});
