import { defineConfig } from "vitest/config";

const node = { environment: "node", restoreMocks: true } as const;

/** Three grounds: pure (unit), real sockets and a simulated host (integration), real QEMU (qemu). The lab has its own runner. */
export default defineConfig({
  root: new URL("..", import.meta.url).pathname,
  test: {
    coverage: { provider: "v8", include: ["src/**"], reportsDirectory: "build/coverage" },
    projects: [
      {
        test: {
          ...node,
          name: "unit",
          include: ["test/unit/**/*.test.ts", "test/architecture.test.ts"],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          ...node,
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          testTimeout: 60_000,
        },
      },
      {
        test: {
          ...node,
          name: "qemu",
          include: ["test/qemu/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
