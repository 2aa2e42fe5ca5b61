// Pictures of random latents: the same seed gives the same pictures, on every device.

// Uniform numbers in [0, 1): the mulberry32 generator.
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Standard normal numbers, by Box and Muller.
export function normals(seed, count) {
  const next = uniform(seed);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - next()));
    const angle = 2 * Math.PI * next();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

// Inputs of `count` pictures, one after another. `labels` gives picture i's label as numbers, for a network with one.
export function latents(network, seed, count, labels) {
  const size = network.inputs.z.shape[1];
  const all = normals(seed, size * count);
  return Array.from({ length: count }, (_, i) => {
    const inputs = { z: { data: all.slice(i * size, (i + 1) * size), shape: [1, size] } };
    if (network.inputs.label) {
      const length = network.inputs.label.shape[1];
      inputs.label = { data: Float32Array.from(labels(i, length)), shape: [1, length] };
    }
    return inputs;
  });
}
