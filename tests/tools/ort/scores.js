// node scores.js X.npy MODEL...: runs each ONNX file over the samples of X.npy ([samples, ...], float32) in ONNX Runtime, all
// its optimizations on, and prints a line of JSON a model: {"model": ..., "scores": [[...], ...]}, or "error" in place of them.
'use strict';
const fs = require('fs');
const ort = require('onnxruntime-node');

function readNpy(file) { // format 1.0, C order
  const bytes = fs.readFileSync(file);
  const length = bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', 10, 10 + length);
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(',').filter((d) => d.trim()).map(Number);
  if (!header.includes("'<f4'")) throw new Error(`${file}: not float32`);
  return {shape, data: new Float32Array(bytes.buffer.slice(bytes.byteOffset + 10 + length))};
}

async function run(model, shape, data) {
  const session = await ort.InferenceSession.create(model, {intraOpNumThreads: 1, logSeverityLevel: 4});
  const row = shape.slice(1).reduce((a, b) => a * b, 1);
  const scores = [];
  for (let i = 0; i < shape[0]; i++) {
    const input = new ort.Tensor('float32', data.subarray(i * row, (i + 1) * row), [1, ...shape.slice(1)]);
    const outputs = await session.run({[session.inputNames[0]]: input});
    scores.push(Array.from(outputs[session.outputNames[0]].data));
  }
  return scores;
}

async function main() {
  const {shape, data} = readNpy(process.argv[2]);
  for (const model of process.argv.slice(3)) {
    let told;
    try {
      told = {model, scores: await run(model, shape, data)};
    } catch (error) {
      told = {model, error: String(error).slice(0, 300)};
    }
    console.log(JSON.stringify(told));
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
