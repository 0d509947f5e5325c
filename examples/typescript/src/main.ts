// The main job: photos to a dataset, a training that is followed, the recommended epoch kept and downloaded.
//
//     npm start -- DIR_OF_PHOTOS OUTPUT.safetensors [ID]

import { createHash, randomUUID } from "node:crypto";
import { readFile, readdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { connect, explained, type Fiveshot } from "./fiveshot.js";
import { follow } from "./watch.js";

const PARENT = `projects/${process.env.FIVESHOT_PROJECT ?? "default"}`;
const CHUNK = 256 * 1024;
const AT_ONCE = 4;

async function main(folder: string, output: string, id: string): Promise<void> {
  const fiveshot = connect();
  const dataset = await fiveshot.datasets.createDataset({
    parent: PARENT,
    datasetId: id,
    dataset: { triggerWord: "sks" },
    requestId: randomUUID(),
  });
  const photos = (await readdir(folder)).filter((name) => /\.(jpe?g|png)$/i.test(name)).sort();
  await Promise.all(Array.from({ length: AT_ONCE }, () => uploadNext(fiveshot, dataset.name, folder, photos)));

  const job = await fiveshot.training.createTrainingJob({
    parent: PARENT,
    trainingJob: {
      baseModel: "baseModels/fiveshot-tiny",
      datasetVersion: dataset.name,
      parameters: { numEpochs: 12, numRepeats: 4, previewPrompts: ["sks on a beach"] },
    },
    requestId: randomUUID(),
  });
  console.log(`job ${job.name}`);
  await follow(fiveshot, job.name);

  const done = await fiveshot.training.getTrainingJob({ name: job.name });
  if (done.error) throw new Error(`${done.error.message} ${done.error.remedy}`);
  const version = await fiveshot.models.saveEpoch({
    parent: PARENT,
    epoch: `${job.name}/epochs/${done.recommendedEpoch}`,
    modelId: id,
    createModel: true,
    requestId: randomUUID(),
  });
  console.log(`saved ${version.name}${version.lineage?.pretended ? ", pretended" : ""}`);
  await download(fiveshot, version.name, output);
  console.log(`downloaded ${output}`);
}

/** Uploads photos until none is left; several of these share the list. */
async function uploadNext(fiveshot: Fiveshot, parent: string, folder: string, photos: string[]): Promise<void> {
  for (let name = photos.shift(); name; name = photos.shift()) {
    const bytes = await readFile(join(folder, name));
    await fiveshot.datasets.uploadImage(messages(parent, name, bytes));
  }
}

/** A header, then the bytes in chunks. */
async function* messages(parent: string, fileName: string, bytes: Buffer) {
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const header = { parent, fileName, sha256, sizeBytes: BigInt(bytes.length), requestId: randomUUID() };
  yield { payload: { case: "header" as const, value: header } };
  for (let start = 0; start < bytes.length; start += CHUNK) {
    yield { payload: { case: "chunk" as const, value: bytes.subarray(start, start + CHUNK) } };
  }
}

/** Writes the LoRA; it gets its name once it is complete and its digest is right. */
async function download(fiveshot: Fiveshot, name: string, output: string): Promise<void> {
  const chunks: Uint8Array[] = [];
  let promised = "";
  for await (const { chunk, file } of fiveshot.models.downloadModelVersion({ name })) {
    promised ||= file?.sha256 ?? "";
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  if (createHash("sha256").update(bytes).digest("hex") !== promised) throw new Error(`${name}: its digest is wrong`);
  await writeFile(`${output}.part`, bytes);
  await rename(`${output}.part`, output);
}

const [folder, output, id = "example"] = process.argv.slice(2);
if (!folder || !output) {
  console.error("usage: npm start -- DIR_OF_PHOTOS OUTPUT.safetensors [ID]");
  process.exit(2);
}
await main(folder, output, id).catch((error) => {
  console.error(explained(error));
  process.exit(1);
});
