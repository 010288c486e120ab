// node compare.js LIST: each line of LIST is "A<tab>B<tab>LEVEL<tab>TOLERANCE". Runs both files over the same random inputs,
// with ONNX Runtime's optimizer at LEVEL (disabled, all), and prints a TAP line a pair. Outputs may differ by TOLERANCE
// times the greatest of their output; 0: not by one bit (0 and -0 are the same; so are all NaN).
'use strict';
const fs = require('fs');
const path = require('path');
const ort = require('onnxruntime-node');

const RUNS = 3;
// Sizes for dimensions that a file leaves open, where 1 will not do.
const SHAPES = {
  'melspectrogram': {input: [1, 4000]},
  'embedding_model': {input_1: [2, 76, 32, 1]},
  'silero_vad': {input: [1, 576], state: [2, 1, 128]},
  'silero_vad_16k_op15': {input: [1, 576], state: [2, 1, 128]},
};
const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array,
  uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array,
  bool: Uint8Array, float16: Uint16Array,
};

let seed = 1;
function random() { // the same numbers in every run
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 4294967296;
}

function makeInput(info, model) {
  const known = (SHAPES[model] || {})[info.name];
  const dims = known || info.shape.map((d) => (typeof d === 'number' && d > 0 ? d : 1));
  const count = dims.reduce((a, b) => a * b, 1);
  const data = new ARRAYS[info.type](count);
  for (let i = 0; i < count; i++) {
    if (info.type === 'int64' || info.type === 'uint64')
      data[i] = info.name === 'sr' ? 16000n : BigInt(1 + Math.floor(random() * 2));
    else if (info.type.startsWith('float') && info.type !== 'float16') data[i] = random() * 2 - 1;
    else if (info.type === 'float16') data[i] = 0x3800 + Math.floor(random() * 1024);
    else data[i] = info.type === "bool" ? Math.floor(random() * 2) : 1 + Math.floor(random() * 2);
  }
  return new ort.Tensor(info.type, data, dims);
}

function difference(a, b, tolerance) {
  if (a.type !== b.type) return `type ${a.type} became ${b.type}`;
  if (String(a.dims) !== String(b.dims)) return `shape [${a.dims}] became [${b.dims}]`;
  let allowed = 0;
  if (tolerance)
    for (const x of a.data) allowed = Math.max(allowed, Number.isFinite(Number(x)) ? tolerance * Math.abs(Number(x)) : 0);
  for (let i = 0; i < a.data.length; i++) {
    const same = a.data[i] === b.data[i] || (a.data[i] !== a.data[i] && b.data[i] !== b.data[i]);
    if (!same && !(Math.abs(Number(a.data[i]) - Number(b.data[i])) <= allowed))
      return `element ${i}: ${a.data[i]} became ${b.data[i]}`;
  }
  return null;
}

// Names of open sizes stay, where inference has not found a number instead, or forgotten a number or a rank.
function renamed(before, after) {
  for (let i = 0; i < before.length; i++) {
    const x = before[i].shape || [], y = after[i].shape || [];
    for (let axis = 0; axis < x.length && x.length === y.length; axis++)
      if (typeof x[axis] === 'string' && typeof y[axis] === 'string' && x[axis] !== y[axis])
        return `axis ${axis} of ${before[i].name}, "${x[axis]}", became "${y[axis]}"`;
  }
  return null;
}

async function run(session, inputs) {
  try {
    return {outputs: await session.run(inputs)};
  } catch (error) {
    return {error: String(error)};
  }
}

async function compare(a, b, level, tolerance) {
  const options = {logSeverityLevel: 4, intraOpNumThreads: 1, graphOptimizationLevel: level};
  const model = path.basename(a, '.onnx');
  let first;
  try {
    first = await ort.InferenceSession.create(a, options);
  } catch (error) {
    return {skip: `ONNX Runtime does not load the original: ${String(error).split('\n')[0].slice(0, 120)}`};
  }
  const second = await ort.InferenceSession.create(b, options);
  if (String(first.inputNames) !== String(second.inputNames)) return {fail: `inputs became ${second.inputNames}`};
  if (String(first.outputNames) !== String(second.outputNames)) return {fail: `outputs became ${second.outputNames}`};
  const name = renamed(first.inputMetadata, second.inputMetadata) || renamed(first.outputMetadata, second.outputMetadata);
  if (name) return {fail: name};
  for (let i = 0; i < RUNS; i++) {
    const inputs = {};
    for (const info of first.inputMetadata) {
      if (!info.isTensor || !ARRAYS[info.type]) return {skip: `input ${info.name} is ${info.type || 'no tensor'}`};
      inputs[info.name] = makeInput(info, model);
    }
    const x = await run(first, inputs);
    const y = await run(second, inputs);
    if (x.error && y.error) return {skip: 'ONNX Runtime refuses our random inputs'};
    if (x.error || y.error) return {fail: x.error ? `only the original fails: ${x.error}` : y.error};
    for (const name of first.outputNames) {
      if (!x.outputs[name] || !y.outputs[name]) continue;
      const wrong = difference(x.outputs[name], y.outputs[name], tolerance);
      if (wrong) return {fail: `output ${name}, run ${i}: ${wrong}`};
    }
  }
  await first.release();
  await second.release();
  return {};
}

async function main() {
  const pairs = fs.readFileSync(process.argv[2], 'utf8').trim().split('\n').filter(Boolean)
      .map((line) => line.split('\t'));
  let failed = 0;
  console.log(`1..${pairs.length}`);
  for (let i = 0; i < pairs.length; i++) {
    const [a, b, level, tolerance] = pairs[i];
    const name = `${path.basename(path.dirname(b))}/${path.basename(b)} gives what its original gives (${level})`;
    let result;
    try {
      result = await compare(a, b, level, Number(tolerance));
    } catch (error) {
      result = {fail: String(error)};
    }
    if (result.fail) failed++;
    console.log(`${result.fail ? 'not ok' : 'ok'} ${i + 1} - ${name}${result.skip ? ` # SKIP ${result.skip}` : ''}`);
    if (result.fail) console.log(`# ${result.fail.replace(/\n/g, ' ')}`);
  }
  process.exit(failed ? 1 : 0);
}

main();
