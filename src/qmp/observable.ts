/**
 * QMP events as an Observable: the only file of this room that knows RxJS (exported as `pciplug/qmp/rx`).
 */

import { Observable } from "rxjs";
import type { QmpClient } from "./client.js";
import type { QmpEvent } from "./events.js";

/** Emits each known event from subscription on; completes, never errors, when the link ends. Does not own the client. */
export function fromQmpEvents(client: Pick<QmpClient, "onEvent" | "closed">): Observable<QmpEvent> {
  return new Observable((subscriber) => {
    const unlisten = client.onEvent((event) => subscriber.next(event));
    void client.closed.then(() => subscriber.complete());
    return unlisten;
  });
}
