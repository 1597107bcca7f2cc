import { defineConfig } from "vitest/config";

export default defineConfig({
  // Relative addresses: the page works below any path, also from an export.
  base: "./",
  logLevel: "warn",
  build: {
    outDir: "../src/noether/data/zarr_store/viewing/page",
    emptyOutDir: true,
    target: "es2022",
    license: { fileName: "licenses.md" }, // of the packages in the page
    // Inlined code would break the content security policy of the page.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 800, // kB: three.js, and blosc with its WebAssembly inside
    rolldownOptions: { checks: { bundlerTimings: false } },
  },
  worker: { format: "es" },
  test: { include: ["test/**/*.test.ts"] },
});
