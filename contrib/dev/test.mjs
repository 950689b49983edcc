// `npm test`: builds, makes sure that QEMU is there, and runs the suites. Arguments go on to vitest.
// Nothing is left out silently: without QEMU the suite on real QEMU is named and left out, and in CI that is a failure.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const qemu = "qemu-system-x86_64";

function run(command, args) {
  return spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] }).status ?? 1;
}

function isThere(command) {
  return spawnSync(command, ["--version"], { stdio: "ignore" }).error === undefined;
}

function provideQemu() {
  if (!isThere(qemu) && process.getuid?.() === 0 && isThere("apt-get")) {
    console.error("Installing Debian's qemu-system-x86 for the tests on real QEMU ...");
    spawnSync("apt-get", ["update", "-q"], { stdio: "ignore" });
    const args = ["install", "-q", "-y", "--no-install-recommends", "qemu-system-x86"];
    spawnSync("apt-get", args, {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
  }
  return isThere(qemu);
}

const hasQemu = provideQemu();
const projects = ["unit", "integration", ...(hasQemu ? ["qemu"] : [])];
const built = run("npm", ["run", "--silent", "build"]);
const status =
  built === 0
    ? run("npx", [
        ...["--no-install", "vitest", "run", "--config", "test/vitest.config.ts"],
        ...projects.flatMap((project) => ["--project", project]),
        ...process.argv.slice(2),
      ])
    : built;
if (!hasQemu) {
  console.error(
    `LEFT OUT: the tests on real QEMU, because ${qemu} is not installed (Debian: qemu-system-x86)`,
  );
}
process.exitCode = status !== 0 || hasQemu || !process.env.CI ? status : 1;
