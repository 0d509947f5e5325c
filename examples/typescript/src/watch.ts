// Following a job across lost connections: each answer carries a token, and the next call goes on behind it.

import { pathToFileURL } from "node:url";
import { setTimeout as pause } from "node:timers/promises";

import { connect, explained, isOutage, type Fiveshot } from "./fiveshot.js";
import type { WatchTrainingJobResponse } from "./gen/fiveshot/trainer/v1/training_service_pb.js";

// Failures in a row, without an answer in between, after which nobody is there.
const TRIES = 10;

/** Everything that happens to a job until it ends, once and in order, however often the line breaks. */
export async function* watch(
  fiveshot: Fiveshot,
  name: string,
  { fromStart = false, onLost = (_error: unknown) => {} } = {},
): AsyncGenerator<WatchTrainingJobResponse> {
  let resumeToken = "";
  for (let failures = 0; ; ) {
    try {
      const request = { name, resumeToken, fromStart: fromStart && !resumeToken };
      for await (const answer of fiveshot.training.watchTrainingJob(request)) {
        resumeToken = answer.resumeToken;
        failures = 0;
        yield answer;
      }
      return;
    } catch (error) {
      if (!isOutage(error) || ++failures > TRIES) throw error;
      onLost(error);
      await pause(Math.min(50 * 2 ** failures, 5000) * (0.5 + Math.random() / 2));
    }
  }
}

/** One answer as a line: its number, 0 for a snapshot, and what it says. */
export function line(answer: WatchTrainingJobResponse): string {
  if (answer.update.case !== "event") return "0 snapshot";
  const { sequence, payload } = answer.update.value;
  switch (payload.case) {
    case "progress": {
      const { step, totalSteps, loss } = payload.value;
      return `${sequence} step ${step} of ${totalSteps}, loss ${loss.toFixed(4)}`;
    }
    case "epochCompleted":
      return `${sequence} ${payload.value.epoch?.name.split("/").slice(-2).join(" ")} is finished`;
    case "stateChanged":
      return `${sequence} ${payload.value.message}`;
    default:
      return `${sequence} ${payload.case}`;
  }
}

/** Prints each line of a job. */
export async function follow(fiveshot: Fiveshot, name: string, fromStart = false): Promise<void> {
  const onLost = () => console.error("connection lost, going on");
  for await (const answer of watch(fiveshot, name, { fromStart, onLost })) console.log(line(answer));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [name] = process.argv.slice(2);
  if (!name) {
    console.error("usage: npm run watch -- projects/PROJECT/trainingJobs/JOB");
    process.exit(2);
  }
  await follow(connect(), name, true).catch((error) => {
    console.error(explained(error));
    process.exit(1);
  });
}
