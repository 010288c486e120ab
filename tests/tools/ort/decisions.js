// node decisions.js JOB [CLIPS]: runs the wake-word job that bench/compression/wakeword.sh left in the folder JOB through
// ONNX Runtime, original and variant, over the first CLIPS of its validation clips, and prints a TAP line: whether both
// fire the same labels. The variant's files are what we wrote, packed: `zstd` must be in the path.
'use strict';
const fs = require('fs');
const path = require('path');
const {execFileSync} = require('child_process');
const ort = require('onnxruntime-node');

const HEADS = ['hey_rhasspy', 'alexa'];
const THRESHOLD = 0.5;
const LEAST_SAME = 0.98;

function readNpy(file) { // format 1.0, int16, C order: what `job pack` writes
  const bytes = fs.readFileSync(file);
  const length = bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', 10, 10 + length);
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(',').filter((d) => d.trim()).map(Number);
  if (!header.includes("'<i2'")) throw new Error(`${file}: not int16`);
  return {shape, data: new Int16Array(bytes.buffer.slice(bytes.byteOffset + 10 + length))};
}

async function openChain(folder, suffix) {
  const chain = {};
  for (const name of ['mel', 'embedding', ...HEADS]) {
    const file = path.join(folder, name + suffix);
    const bytes = suffix.endsWith('.zst') ? execFileSync('zstd', ['-dcq', file], {maxBuffer: 1 << 28}) : fs.readFileSync(file);
    chain[name] = await ort.InferenceSession.create(bytes, {intraOpNumThreads: 1, logSeverityLevel: 3});
  }
  return chain;
}

async function run(session, data, dims) {
  const result = await session.run({[session.inputNames[0]]: new ort.Tensor('float32', data, dims)});
  return result[session.outputNames[0]].data;
}

async function fires(chain, samples) {
  const best = HEADS.map(() => 0);
  let frames = [], embeddings = [];
  for (let at = 0; at + 1760 <= samples.length; at += 1280) {
    const mel = await run(chain.mel, Float32Array.from(samples.subarray(at, at + 1760)), [1, 1760]);
    for (let i = 0; i < mel.length; i += 32) frames.push(mel.slice(i, i + 32).map((x) => x / 10 + 2));
    for (; frames.length >= 76; frames = frames.slice(8)) {
      const window = new Float32Array(76 * 32);
      for (let i = 0; i < 76; i++) window.set(frames[i], i * 32);
      embeddings.push(await run(chain.embedding, window, [1, 76, 32, 1]));
      if (embeddings.length < 16) continue;
      const input = new Float32Array(16 * 96);
      embeddings.forEach((e, i) => input.set(e, i * 96));
      for (let h = 0; h < HEADS.length; h++)
        best[h] = Math.max(best[h], (await run(chain[HEADS[h]], input, [1, 16, 96]))[0]);
      embeddings = embeddings.slice(1);
    }
  }
  return best;
}

async function main() {
  const job = process.argv[2];
  const {shape, data} = readNpy(path.join(job, 'data/validation_x.npy'));
  const clips = Math.min(shape[0], Number(process.argv[3] || shape[0]));
  const original = await openChain(path.join(job, 'original'), '.onnx');
  const variant = await openChain(path.join(job, 'variant'), '.onnx.zst');
  let same = 0;
  console.log('1..1');
  for (let i = 0; i < clips; i++) {
    const clip = data.subarray(i * shape[1], (i + 1) * shape[1]);
    const a = await fires(original, clip), b = await fires(variant, clip);
    const equal = a.every((x, h) => (x >= THRESHOLD) === (b[h] >= THRESHOLD));
    same += equal;
    if (!equal) console.log(`# clip ${i}: ${a.map((x) => x.toFixed(3))} became ${b.map((x) => x.toFixed(3))}`);
  }
  const ok = same >= LEAST_SAME * clips;
  console.log(`${ok ? 'ok' : 'not ok'} 1 - ONNX Runtime decides alike on ${same} of ${clips} clips`);
  process.exit(ok ? 0 : 1);
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
