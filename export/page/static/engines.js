// The runtimes behind one function: an engine takes named tensors {data, shape} and gives {data, shape}.

const here = (path) => new URL(path, import.meta.url).href;

// Loaded once each, when first needed: they are megabytes.
const once = {};
const modules = {
  async ort() {
    const ort = await import(here("runtimes/onnxruntime-web/ort.wasm.min.mjs"));
    ort.env.wasm.wasmPaths = here("runtimes/onnxruntime-web/");
    // Threads share memory, which browsers give only to pages of servers that send two headers.
    ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
    return ort;
  },
  async litert() {
    const litert = await import(here("runtimes/litert/index.js"));
    const jspi = "Suspending" in WebAssembly && (await hasGpu()); // without it, a GPU takes whole graphs only
    await litert.loadLiteRt(here("runtimes/litert/wasm/"), { jspi });
    return litert;
  },
};
const loaded = (name) => (once[name] ??= modules[name]());

async function onnx(bytes) {
  const ort = await loaded("ort");
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  return {
    async run(inputs) {
      const tensors = {};
      for (const [name, { data, shape }] of Object.entries(inputs)) tensors[name] = new ort.Tensor(data, shape);
      const output = (await session.run(tensors))[session.outputNames[0]];
      return { data: output.data, shape: output.dims };
    },
    close: () => session.release(),
  };
}

async function tflite(bytes, accelerator) {
  const litert = await loaded("litert");
  const model = await litert.loadAndCompile(bytes, { accelerator });
  return {
    async run(inputs) {
      const tensors = {};
      let outputs = {};
      try {
        for (const [name, { data, shape }] of Object.entries(inputs)) tensors[name] = new litert.Tensor(data, shape);
        outputs = await model.run(tensors);
        const output = Object.values(outputs)[0];
        const shape = Array.from(model.getOutputDetails()[0].shape);
        return { data: (await output.data()).slice(), shape };
      } finally {
        // Memory of the runtime is not collected.
        for (const tensor of [...Object.values(tensors), ...Object.values(outputs)]) tensor.delete();
      }
    },
    close: () => model.delete(),
  };
}

// kerasgen serve, and TensorFlow Serving: arrays as JSON.
async function rest(path) {
  return {
    async run(inputs) {
      const asked = {};
      for (const [name, { data, shape }] of Object.entries(inputs)) asked[name] = nested([...data], shape);
      const body = JSON.stringify({ inputs: asked });
      const response = await fetch(here(path), { method: "POST", body });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.error);
      const shape = [];
      for (let part = answer.outputs; Array.isArray(part); part = part[0]) shape.push(part.length);
      return { data: Uint8Array.from(answer.outputs.flat(shape.length - 1)), shape };
    },
    close() {},
  };
}

function nested(values, shape) {
  for (const size of shape.slice(1).reverse()) {
    values = Array.from({ length: values.length / size }, (_, i) => values.slice(i * size, (i + 1) * size));
  }
  return values;
}

export const RUNTIMES = {
  "tflite-webgpu": { title: "LiteRT, GPU", kind: "tflite", create: (bytes) => tflite(bytes, "webgpu") },
  tflite: { title: "LiteRT, processor", kind: "tflite", create: (bytes) => tflite(bytes, "wasm") },
  onnx: { title: "ONNX Runtime, processor", kind: "onnx", create: onnx },
  rest: { title: "the server", kind: "rest", create: (_, file) => rest(file.path) },
};

// Whether a GPU can be had; asked before a runtime is offered that needs it.
export async function hasGpu() {
  try {
    return Boolean(await navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}

// The engine of a file of a network, after it has given the values that Keras gives for the golden input.
export async function open(name, file) {
  const { title, create } = RUNTIMES[name];
  const bytes = name === "rest" ? null : await fetched(file);
  let engine;
  try {
    engine = await create(bytes, file);
    if (file.golden) await prove(engine, file);
  } catch (error) {
    engine?.close();
    throw new Error(`${file.path} doesn't run by ${title} (${reason(error)}): export the page again.`);
  }
  return engine;
}

async function fetched(file) {
  const response = await fetch(here(file.path));
  if (!response.ok) throw new Error(`${file.path} is missing from this page's folder: copy the whole folder.`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (crypto.subtle) { // which only secure pages have; the golden pair finds most damage, too
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (sha256 !== file.sha256) {
      throw new Error(`${file.path} is damaged, for its bytes are not those of the export: copy the folder again.`);
    }
  }
  return bytes;
}

const reason = (error) => String(error?.message ?? error).trim().split("\n")[0].replace(/\.$/, "").slice(0, 160);

async function prove(engine, { golden, inputs }) {
  const filled = {};
  for (const [name, { shape }] of Object.entries(golden.inputs)) {
    filled[name] = { data: goldenInput(inputs[name], shape), shape };
  }
  const { data } = await engine.run(filled);
  const [output] = Object.values(golden.outputs);
  const off = Math.max(...output.positions.map((at, i) => Math.abs(data[at] - output.values[i])));
  if (!(off <= 1)) throw new Error(`it is ${off} levels from Keras on the golden input`);
}

// The rule of the manifest: Knuth's hash of each place.
function goldenInput(dtype, shape) {
  const count = shape.reduce((a, b) => a * b, 1);
  const hash = (i) => Math.imul(i, 2654435761) >>> 0;
  if (dtype === "uint8") return Uint8Array.from({ length: count }, (_, i) => hash(i) >>> 24);
  return Float32Array.from({ length: count }, (_, i) => (2 * hash(i)) / 2 ** 32 - 1);
}
