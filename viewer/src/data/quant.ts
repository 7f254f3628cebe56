// The page's number codes, decoded; the twin of src/view/encode.h. 8-bit logarithmic: 0 is exactly 0, 1..254 are
// 2^-20 .. 1 in equal steps of log2, 255 is "not a number". The relative error is at most 2.8 %.
/** What each of the 256 codes stands for. */
export const LOG_DECODE = Float32Array.from({ length: 256 }, (_, code) =>
  code === 0 ? 0 : code === 255 ? NaN : 2 ** (-20 + (code - 1) * (20 / 253)),
);

/** 1..255 are 0 .. top; 0 is "not a number". */
export const linearDecode = (code: number, top: number): number => (code === 0 ? NaN : ((code - 1) / 254) * top);

/** How many cells the first n rows have. */
export const triangle = (n: number): number => (n * (n + 1)) / 2;

let halves: Float32Array | undefined;

function halfTable(): Float32Array {
  if (halves) return halves;
  halves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; ++bits) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const size =
      exponent === 31
        ? fraction
          ? NaN
          : Infinity
        : exponent === 0
          ? fraction * 2 ** -24
          : (1 + fraction / 1024) * 2 ** (exponent - 15);
    halves[bits] = bits & 0x8000 ? -size : size;
  }
  return halves;
}

/** One binary16 value. */
export const halfValue = (bits: number): number => halfTable()[bits] ?? NaN;

/** `count` binary16 values that stand as two planes (low bytes, then high bytes) from `offset`. */
export function halfPlanes(bytes: Uint8Array, offset: number, count: number): Float32Array {
  const table = halfTable();
  const out = new Float32Array(count);
  for (let i = 0; i < count; ++i) {
    out[i] = table[(bytes[offset + i] ?? 0) | ((bytes[offset + count + i] ?? 0) << 8)] ?? 0;
  }
  return out;
}

/** `count` f32, little-endian, from `offset`. */
export function floats(bytes: Uint8Array, offset: number, count: number): Float32Array {
  const out = new Float32Array(count);
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, 4 * count);
  for (let i = 0; i < count; ++i) out[i] = view.getFloat32(4 * i, true);
  return out;
}

/** a - b of two decoded log codes, 0 where it lies within what the codes leave open (2.78 % of each). */
export function unrounded(a: number, b: number): number {
  const d = a - b;
  return Math.abs(d) <= 0.0278 * (a + b) ? 0 : d;
}
