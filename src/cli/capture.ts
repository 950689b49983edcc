/** `pciplug capture`: this host as a file, to try rules on elsewhere or to go with a bug report. */
import { Command } from "commander";
import { counted } from "../base/counted.js";
import { EXIT } from "../core/exit-code.js";
import { isBridgeDevice } from "../core/iommu-group.js";
import { NO_WISHES } from "../core/wishes.js";
import { captureOf } from "../host/capture.js";
import { type HostOptions, pictureOf, withHostOptions } from "./inventory.js";
import { type CliIo, DEFAULTS, renderJson } from "./io.js";

export function captureCommand(io: CliIo, version: string): Command {
  return withHostOptions(new Command("capture"))
    .description("write this host as JSON, for --host of the other commands: pciplug capture > host.json")
    .option("--serials", "with serial numbers (root only); they are left out otherwise")
    .action(async (options: HostOptions & { readonly serials?: boolean }) => {
      const withSerials = options.serials === true;
      const wishes = { ...NO_WISHES, udev: true, serial: withSerials };
      const picture = await pictureOf({ ...options, wishes, folders: [DEFAULTS.state] });
      const missing = picture.devices.filter(
        (device) => device.serial === undefined && !isBridgeDevice(device),
      ).length;
      if (withSerials && missing > 0) {
        io.err(
          `the serial ${missing === 1 ? "number" : "numbers"} of ${counted(missing, "device")} could not be read (root only)`,
        );
      }
      io.out(renderJson(captureOf(picture, { capturedBy: `pciplug ${version}`, withSerials })));
      io.exit(EXIT.ok);
    });
}
