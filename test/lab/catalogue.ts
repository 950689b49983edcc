/** All stories, in the order in which they are told: first the lab proves itself, then those of the order. */
import { agentKilled } from "./stories/agent-killed.js";
import { ground } from "./stories/ground.js";
import { identicalCards } from "./stories/identical-cards.js";
import { killedInAdd } from "./stories/killed-in-add.js";
import { nicInUse } from "./stories/nic-in-use.js";
import { override } from "./stories/override.js";
import { plugAndPull } from "./stories/plug-and-pull.js";
import { poorQemu } from "./stories/poor-qemu.js";
import { protectedDisks } from "./stories/protected-disks.js";
import { protectedNic } from "./stories/protected-nic.js";
import { refusedGroups } from "./stories/refused-groups.js";
import { resolveAndStart } from "./stories/resolve-and-start.js";
import { ruleGoes } from "./stories/rule-goes.js";
import { selectAndReload } from "./stories/select-and-reload.js";
import { sharedGroup } from "./stories/shared-group.js";
import { sharedShutdown } from "./stories/shared-shutdown.js";
import { staleLedger } from "./stories/stale-ledger.js";
import { stubbornRemoval } from "./stories/stubborn-removal.js";
import { vmRestarts } from "./stories/vm-restarts.js";
import { watchSources } from "./stories/watch-sources.js";
import { wholeCard } from "./stories/whole-card.js";
import type { Story } from "./story.js";

export const catalogue: readonly Story[] = [
  ground,
  plugAndPull,
  identicalCards,
  vmRestarts,
  agentKilled,
  ruleGoes,
  sharedGroup,
  watchSources,
  staleLedger,
  protectedDisks,
  protectedNic,
  override,
  selectAndReload,
  resolveAndStart,
  wholeCard,
  refusedGroups,
  poorQemu,
  stubbornRemoval,
  killedInAdd,
  sharedShutdown,
  nicInUse,
];
