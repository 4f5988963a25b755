// The phone's own planner (web/src/phone/engine/redundancy.ts, bundled by the caller), asked frame by frame.
// stdin: {"module": path, "gaps": [{at, lastsMs}], "loss", "clockErrorMs", "frames": n, "frameMs"}; stdout: {"offsetsMs": [[...], ...], "playoutMs"}.
import { readFileSync } from "node:fs";

const order = JSON.parse(readFileSync(0, "utf8"));
const { offsetsAt, planCopies, playoutDelayMs } = await import(order.module);
const offsetsMs = [];
let plan = null;
for (let n = 0; n < order.frames; n++) {
  const now = n * order.frameMs;
  if (n % 50 === 0) plan = planCopies(order.gaps, order.loss, order.clockErrorMs, now); // a phone plans once a second
  offsetsMs.push(offsetsAt(plan, now));
}
const playoutMs = playoutDelayMs(order.gaps, order.loss, order.gaps[0]?.at ?? 0);
process.stdout.write(JSON.stringify({ offsetsMs, playoutMs }));
