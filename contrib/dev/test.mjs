// `npm test`: builds, makes sure that QEMU and socat are there, and runs the suites. Arguments go on to vitest.
// Nothing is left out silently: without them the suite on real QEMU is named and left out, and in CI that is a failure.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** What the suite on real QEMU calls, and the Debian packages that have it. */
const tools = [
  ["qemu-system-x86_64", "qemu-system-x86"],
  ["socat", "socat"],
];

function run(command, args) {
  return spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] }).status ?? 1;
}

function isThere(command) {
  return spawnSync(command, ["-V"], { stdio: "ignore" }).error === undefined;
}

function missing() {
  return tools.filter(([command]) => !isThere(command));
}

function provideTools() {
  const packages = missing().map(([, name]) => name);
  if (packages.length > 0 && process.getuid?.() === 0 && isThere("apt-get")) {
    console.error(`Installing Debian's ${packages.join(" and ")} for the tests on real QEMU ...`);
    spawnSync("apt-get", ["update", "-q"], { stdio: "ignore" });
    const args = ["install", "-q", "-y", "--no-install-recommends", ...packages];
    spawnSync("apt-get", args, {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
  }
  return missing();
}

const lacking = provideTools();
const hasQemu = lacking.length === 0;
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
    `LEFT OUT: the tests on real QEMU, because these are not installed: ${lacking.map(([command, name]) => `${command} (Debian: ${name})`).join(", ")}`,
  );
}
process.exitCode = status !== 0 || hasQemu || !process.env.CI ? status : 1;
