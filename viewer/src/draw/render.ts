// Draws patches of the map. Two ways, one picture: WebGL2 (values as a two-channel float texture, colour from a 256 x 1
// table in the shader, so that palette and scale change without touching a cell) and, where there is no WebGL2, the
// 2D canvas with cells coloured one by one. Cells are never interpolated: what is seen is what is known.
import {
  ABSENT,
  type Colours,
  FAULT,
  LOG_FLOOR,
  NOT_A_NUMBER,
  RANK_BINS,
  RANK_FLOOR,
  place,
  rampOf,
  table,
} from './colormap';
import type { Patch } from './tiles';

/** What of the map is seen, and how large. */
export interface Camera {
  x: number; // token at the left edge
  y: number; // token at the top edge
  scale: number; // device pixels a token
}

/** Draws patches on a canvas, by WebGL2 or in 2D. */
export interface Renderer {
  readonly kind: 'WebGL2' | 'Canvas 2D';
  draw(patches: Patch[], camera: Camera, colours: Colours): void;
  dispose(): void;
}

let fast: boolean | undefined;

/**
 * WebGL2 done in software is slower than the 2D canvas (measured on two cores: 95 % of frames within 50 ms against
 * 17 ms), so it is taken only where a graphics chip does it. `draw=webgl` in the address takes it anyway, for tests.
 */
function fastWebGl(): boolean {
  if (fast !== undefined) return fast;
  const gl = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true });
  const names = gl?.getExtension('WEBGL_debug_renderer_info');
  const renderer = String(gl?.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER) ?? '');
  fast = gl !== null && !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(renderer);
  gl?.getExtension('WEBGL_lose_context')?.loseContext();
  return fast;
}

let lostOnce = false;

/** `lost` is called when the graphics chip gives up: another canvas then has to be made, which is drawn on in 2D. */
export function makeRenderer(canvas: HTMLCanvasElement, lost: () => void): Renderer {
  const forced = new URLSearchParams(location.hash.slice(1)).get('draw') === 'webgl';
  const gl =
    !lostOnce && (forced || fastWebGl())
      ? canvas.getContext('webgl2', { antialias: false, premultipliedAlpha: true })
      : null;
  if (gl) {
    const renderer = GlRenderer.make(gl, () => {
      lostOnce = true;
      lost();
    });
    if (renderer) return renderer;
  }
  return new FlatRenderer(canvas);
}

const VERTEX = `#version 300 es
uniform vec4 rect;    // x, y, width, height of the patch in tokens
uniform vec4 camera;  // left, top in tokens; pixels a token; unused
uniform vec2 screen;  // pixels
out vec2 token;
out vec2 uv;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  token = rect.xy + corner * rect.zw;
  uv = corner;
  vec2 p = (token - camera.xy) * camera.z / screen * 2.0 - 1.0;
  gl_Position = vec4(p.x, -p.y, 0, 1);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D cells;  // share, max
uniform sampler2D lut;    // 256 x 1
uniform sampler2D cdf;    // 256 x 1
uniform int pool;         // 0 share, 1 max
uniform int scale;        // 0 linear, 1 log, 2 rank
uniform float top;
uniform int signed_; // 1: values are (d + 1) / 2 of a difference d
in vec2 token;
in vec2 uv;
out vec4 colour;
void main() {
  if (floor(token.x) > floor(token.y)) discard;
  ivec2 size = textureSize(cells, 0);
  ivec2 at = clamp(ivec2(uv * vec2(size)), ivec2(0), size - 1);
  vec2 both = texelFetch(cells, at, 0).rg;
  float v = pool == 0 ? both.r : both.g;
  if (v == ${ABSENT.toFixed(1)}) discard;
  if (v == ${NOT_A_NUMBER.toFixed(1)}) {
    colour = vec4(${FAULT.map((c) => (c / 255).toFixed(1)).join(', ')}, 1);
    return;
  }
  float t = 0.0;
  float side = 1.0;
  if (signed_ == 1) {
    v = 2.0 * v - 1.0;
    side = v < 0.0 ? -1.0 : 1.0;
    v = abs(v);
  }
  if (v > 0.0) {
    if (scale == 0) t = v / top;
    else if (scale == 1 || signed_ == 1) t = 1.0 - log2(v) / ${LOG_FLOOR.toFixed(1)};
    else {
      float bin = (log2(v) - ${RANK_FLOOR.toFixed(1)}) / ${(-RANK_FLOOR).toFixed(1)} * ${(RANK_BINS - 1).toFixed(1)};
      t = texelFetch(cdf, ivec2(clamp(int(floor(bin)), 0, ${RANK_BINS - 1}), 0), 0).r;
    }
  }
  t = clamp(t, 0.0, 1.0);
  if (signed_ == 1) t = 0.5 + 0.5 * side * t;
  colour = texelFetch(lut, ivec2(int(clamp(t, 0.0, 1.0) * 255.0 + 0.5), 0), 0);
}`;

class GlRenderer implements Renderer {
  readonly kind = 'WebGL2';
  private readonly textures = new Map<Patch, WebGLTexture>();
  private version = -1;
  private readonly at: Record<string, WebGLUniformLocation | null> = {};

  private constructor(
    private readonly gl: WebGL2RenderingContext,
    program: WebGLProgram,
    private readonly lut: WebGLTexture,
    private readonly cdf: WebGLTexture,
    private readonly lost: () => void,
  ) {
    gl.canvas.addEventListener('webglcontextlost', lost);
    for (const name of ['rect', 'camera', 'screen', 'cells', 'lut', 'cdf', 'pool', 'scale', 'top', 'signed_']) {
      this.at[name] = gl.getUniformLocation(program, name);
    }
    gl.useProgram(program);
    gl.uniform1i(this.at['cells']!, 0);
    gl.uniform1i(this.at['lut']!, 1);
    gl.uniform1i(this.at['cdf']!, 2);
  }

  static make(gl: WebGL2RenderingContext, lost: () => void): GlRenderer | null {
    const program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ] as const) {
      const shader = gl.createShader(kind);
      if (!shader) return null;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
    return new GlRenderer(gl, program, texture(gl), texture(gl), lost);
  }

  draw(patches: Patch[], camera: Camera, colours: Colours): void {
    const { gl, at } = this;
    const { width, height } = gl.canvas;
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (this.version !== colours.version) this.upload(colours);
    gl.uniform4f(at['camera']!, camera.x, camera.y, camera.scale, 0);
    gl.uniform2f(at['screen']!, width, height);
    gl.uniform1i(at['pool']!, colours.pool === 'sum' ? 0 : 1);
    gl.uniform1i(at['scale']!, colours.scale === 'linear' ? 0 : colours.scale === 'log' ? 1 : 2);
    gl.uniform1f(at['top']!, colours.top);
    gl.uniform1i(at['signed_']!, colours.signed ? 1 : 0);
    gl.activeTexture(gl.TEXTURE0);
    for (const patch of patches) {
      gl.bindTexture(gl.TEXTURE_2D, this.cells(patch));
      gl.uniform4f(at['rect']!, patch.x, patch.y, patch.width * patch.cell, patch.height * patch.cell);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
    this.trim();
  }

  private upload(colours: Colours): void {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.lut);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, table(rampOf(colours)));
    gl.activeTexture(gl.TEXTURE2);
    gl.bindTexture(gl.TEXTURE_2D, this.cdf);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R32F, RANK_BINS, 1, 0, gl.RED, gl.FLOAT, colours.cdf);
    this.version = colours.version;
  }

  private cells(patch: Patch): WebGLTexture {
    const { gl } = this;
    let t = this.textures.get(patch);
    if (t) {
      this.textures.delete(patch);
    } else {
      t = texture(gl);
      const { width, height, values } = patch;
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RG32F, width, height, 0, gl.RG, gl.FLOAT, values);
    }
    this.textures.set(patch, t);
    return t;
  }

  private trim(): void {
    let bytes = 0;
    for (const patch of this.textures.keys()) bytes += patch.values.byteLength;
    for (const [patch, t] of this.textures) {
      if (bytes < 128e6) break;
      bytes -= patch.values.byteLength;
      this.gl.deleteTexture(t);
      this.textures.delete(patch);
    }
  }

  dispose(): void {
    for (const t of this.textures.values()) this.gl.deleteTexture(t);
    this.textures.clear();
    this.gl.canvas.removeEventListener('webglcontextlost', this.lost);
    this.gl.getExtension('WEBGL_lose_context')?.loseContext();
  }
}

function texture(gl: WebGL2RenderingContext): WebGLTexture {
  const t = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, t);
  for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
  for (const way of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, way, gl.CLAMP_TO_EDGE);
  return t;
}

interface Part {
  r0: number; // [r0, r1) x [c0, c1)
  r1: number;
  c0: number;
  c1: number;
}

/** A patch, or a part of it, as coloured pixels, one a cell; transparent above the diagonal. */
export function pixels(patch: Patch, colours: Colours, part?: Part): ImageData {
  const { r0, r1, c0, c1 } = part ?? { r0: 0, r1: patch.height, c0: 0, c1: patch.width };
  const image = new ImageData(c1 - c0, r1 - r0);
  const lut = table(rampOf(colours));
  const which = colours.pool === 'sum' ? 0 : 1;
  let to = 0;
  for (let r = r0; r < r1; ++r) {
    for (let c = c0; c < c1; ++c, to += 4) {
      const v = patch.values[2 * (r * patch.width + c) + which]!;
      if (v === ABSENT) continue;
      const at = 4 * Math.round(place(v, colours) * 255);
      const fault = v === NOT_A_NUMBER;
      for (let i = 0; i < 3; ++i) image.data[to + i] = fault ? FAULT[i]! : lut[at + i]!;
      image.data[to + 3] = 255;
    }
  }
  return image;
}

/** The same on a canvas: for the map, and for the minimap. */
export function paint(patch: Patch, colours: Colours): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  canvas.width = patch.width;
  canvas.height = patch.height;
  canvas.getContext('2d')!.putImageData(pixels(patch, colours), 0, 0);
  return canvas;
}

class FlatRenderer implements Renderer {
  readonly kind = 'Canvas 2D';
  private readonly painted = new Map<Patch, { canvas: HTMLCanvasElement; version: number }>();

  constructor(private readonly canvas: HTMLCanvasElement) {}

  draw(patches: Patch[], camera: Camera, colours: Colours): void {
    const context = this.canvas.getContext('2d');
    if (!context) return;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.imageSmoothingEnabled = false;
    for (const patch of patches) {
      let p = this.painted.get(patch);
      if (!p || p.version !== colours.version) {
        p = { canvas: paint(patch, colours), version: colours.version };
        this.painted.set(patch, p);
      }
      // Whole pixels: two neighbours share an edge, with neither a gap nor an overlap between them.
      const left = Math.round((patch.x - camera.x) * camera.scale);
      const top = Math.round((patch.y - camera.y) * camera.scale);
      const right = Math.round((patch.x + patch.width * patch.cell - camera.x) * camera.scale);
      const bottom = Math.round((patch.y + patch.height * patch.cell - camera.y) * camera.scale);
      // Exact cells replace the pooled ones beneath: without this, these would show above the diagonal.
      if (patch.exact) context.clearRect(left, top, right - left, bottom - top);
      context.drawImage(p.canvas, left, top, right - left, bottom - top);
    }
    for (const old of this.painted.keys()) {
      if (this.painted.size < 700) break;
      this.painted.delete(old);
    }
  }

  dispose(): void {
    this.painted.clear();
  }
}
