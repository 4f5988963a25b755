// Satellites and serving links, drawn by the graphics processor on a canvas of their own above the map.
//
// All time steps lie in one buffer; a frame only says between which two steps it stands and how far. The vertex shader mixes the two
// positions of each satellite as vectors in space (so the date line needs no care), and projects the point below it. No JavaScript runs
// per satellite, so ten thousand cost the page as much as ten. The canvas is its own, not a layer of the map, so that the map below is
// drawn again only when it moves (docs/decisions/0013-console-map.md).

import { type PositionTrack, positionAt, stepAt, type Vector, WGS84_A_KM, WGS84_E2 } from "./positions";

/** Red, green, blue, alpha, each 0–1, not premultiplied. */
export type Colour = readonly [number, number, number, number];

export interface SatelliteColours {
  satellite: Colour;
  serving: Colour;
  userLink: Colour;
  feederLink: Colour;
}

/** What the map shows: its centre in web mercator (0–1 from the north-west) and the width of the whole world, in pixels of the page. */
export interface Camera {
  x: number;
  y: number;
  worldPx: number;
}

/** A link as it is drawn: where it begins, through which satellite, where it lands. */
export interface DrawnLink {
  satellite: number;
  place: Vector;
  gateway: Vector | null;
  selected: boolean;
}

const MERCATOR = `
const float PI = 3.14159265358979;
const float E2 = ${WGS84_E2};
const float A_KM = ${WGS84_A_KM};
// The point below a position (ITRS kilometres) in web mercator, 0–1 from the north-west. The latitude is geodetic, to better than 0.01°.
vec2 below(vec3 p) {
  float equatorial = length(p.xy);
  float latitude = atan(p.z, equatorial * (1.0 - E2 * A_KM / length(p)));
  latitude = clamp(latitude, -1.4844, 1.4844);
  return vec2(0.5 + atan(p.y, p.x) / (2.0 * PI), 0.5 - log(tan(PI / 4.0 + latitude / 2.0)) / (2.0 * PI));
}`;

const POINT_VERTEX = `#version 300 es
precision highp float;
layout(location = 0) in vec3 a_from;
layout(location = 1) in vec3 a_to;
uniform mat4 u_matrix;
uniform float u_share;
uniform float u_size;
${MERCATOR}
void main() {
  vec3 p = mix(a_from, a_to, u_share);
  if (!(length(p) > 6000.0)) { // a satellite that is no more is NaN, for which no comparison holds
    gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
    gl_PointSize = 0.0;
    return;
  }
  gl_Position = u_matrix * vec4(below(p), 0.0, 1.0);
  gl_PointSize = u_size;
}`;

const POINT_FRAGMENT = `#version 300 es
precision highp float;
uniform vec4 u_colour;
uniform float u_size;
uniform float u_ring; // 0 for a disc, else the width of a ring in pixels
out vec4 colour;
void main() {
  float r = length(gl_PointCoord - 0.5) * u_size;
  float cover = clamp(u_size * 0.5 - r, 0.0, 1.0);
  if (u_ring > 0.0) cover *= clamp(r - (u_size * 0.5 - u_ring) + 1.0, 0.0, 1.0);
  float alpha = u_colour.a * cover;
  colour = vec4(u_colour.rgb * alpha, alpha);
}`;

const SEGMENTS = 24;

const LINK_VERTEX = `#version 300 es
precision highp float;
uniform mat4 u_matrix;
uniform vec3 u_start;
uniform vec3 u_end;
uniform vec2 u_viewport;
uniform float u_width;
out float v_along;
out float v_across; // pixels from the middle of the line
${MERCATOR}
vec4 at(float t) {
  vec2 m = below(mix(u_start, u_end, t)); // below the straight line through space that the radio takes
  m.x -= floor(m.x - below(u_start).x + 0.5); // the short way round, over the date line too
  return u_matrix * vec4(m, 0.0, 1.0);
}
void main() {
  float t = float(gl_VertexID / 2) / float(${SEGMENTS});
  vec4 here = at(t);
  vec4 before = at(t - 0.01);
  vec4 after = at(t + 0.01);
  vec2 along = (after.xy / after.w - before.xy / before.w) * u_viewport;
  vec2 across = length(along) > 0.0 ? normalize(vec2(-along.y, along.x)) : vec2(0.0);
  float side = float(gl_VertexID % 2) * 2.0 - 1.0;
  float reach = u_width * 0.5 + 1.0;
  here.xy += across * side * reach * 2.0 / u_viewport * here.w;
  v_across = side * reach;
  v_along = t;
  gl_Position = here;
}`;

const LINK_FRAGMENT = `#version 300 es
precision highp float;
uniform vec4 u_colour;
uniform float u_dashes; // 0 for an unbroken line
uniform float u_width;
in float v_along;
in float v_across;
out vec4 colour;
void main() {
  if (u_dashes > 0.0 && fract(v_along * u_dashes) > 0.6) discard;
  float alpha = u_colour.a * clamp(u_width * 0.5 + 0.5 - abs(v_across), 0.0, 1.0);
  colour = vec4(u_colour.rgb * alpha, alpha);
}`;

const FLASH_S = 1.4;
const FLASH_GROWTH_PX = 44;

function compile(gl: WebGL2RenderingContext, kind: GLenum, source: string): WebGLShader {
  const shader = gl.createShader(kind);
  if (!shader) throw new Error("the graphics processor gives no shader");
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader) ?? "the shader does not compile");
  return shader;
}

/** A program and its uniforms by name. */
class Program {
  readonly #program: WebGLProgram;
  readonly #uniforms = new Map<string, WebGLUniformLocation | null>();

  constructor(
    private readonly gl: WebGL2RenderingContext,
    vertex: string,
    fragment: string,
  ) {
    this.#program = gl.createProgram();
    gl.attachShader(this.#program, compile(gl, gl.VERTEX_SHADER, vertex));
    gl.attachShader(this.#program, compile(gl, gl.FRAGMENT_SHADER, fragment));
    gl.linkProgram(this.#program);
    if (!gl.getProgramParameter(this.#program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(this.#program) ?? "the program does not link");
  }

  use(): void {
    this.gl.useProgram(this.#program);
  }

  uniform(name: string): WebGLUniformLocation | null {
    const known = this.#uniforms.get(name);
    if (known !== undefined) return known;
    const location = this.gl.getUniformLocation(this.#program, name);
    this.#uniforms.set(name, location);
    return location;
  }

}

/** Column-major matrix from web mercator to the canvas, for a map that is neither turned nor tilted. */
function matrixOf({ x, y, worldPx }: Camera, widthPx: number, heightPx: number): Float32Array {
  const [sx, sy] = [(2 * worldPx) / widthPx, (-2 * worldPx) / heightPx];
  return Float32Array.from([sx, 0, 0, 0, 0, sy, 0, 0, 0, 0, 1, 0, -x * sx, -y * sy, 0, 1]);
}

const STILL_INTERVAL_MS = 1000;

export class SatelliteCanvas {
  readonly element = document.createElement("canvas");
  readonly #gl: WebGL2RenderingContext;
  readonly #points: Program;
  readonly #lines: Program;
  readonly #buffer: WebGLBuffer;
  readonly #array: WebGLVertexArrayObject;
  readonly #emptyArray: WebGLVertexArrayObject;
  #track: PositionTrack | null = null;
  #nextTrack: PositionTrack | null = null;
  #uploaded: PositionTrack | null = null;
  #pointedStep = -1;
  #links: readonly DrawnLink[] = [];
  #flashes: { satellite: number; sinceUnixS: number }[] = [];
  #frame = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * `nowUnixS` is the server's clock. With `still` the picture moves once a second instead of with every frame, and nothing flashes.
   * Throws if there is no WebGL 2.
   */
  constructor(
    private readonly camera: () => Camera,
    private readonly nowUnixS: () => number,
    private readonly still: () => boolean,
    private readonly colours: SatelliteColours,
  ) {
    const gl = this.element.getContext("webgl2", { antialias: false, depth: false, stencil: false });
    if (!gl) throw new Error("WebGL 2 is missing");
    this.#gl = gl;
    this.#points = new Program(gl, POINT_VERTEX, POINT_FRAGMENT);
    this.#lines = new Program(gl, LINK_VERTEX, LINK_FRAGMENT);
    this.#buffer = gl.createBuffer();
    this.#array = gl.createVertexArray();
    this.#emptyArray = gl.createVertexArray();
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.#frame = requestAnimationFrame(this.#turn);
  }

  /** A track that begins later takes over when its time has come. */
  setTrack(track: PositionTrack): void {
    if (this.#track && track.startUnixS > this.nowUnixS()) this.#nextTrack = track;
    else this.#track = track;
  }

  setLinks(links: readonly DrawnLink[]): void {
    this.#links = links;
  }

  /** A satellite took over: a ring opens around it. */
  flash(satellite: number): void {
    if (!this.still()) this.#flashes.push({ satellite, sinceUnixS: this.nowUnixS() });
  }

  /** Fits the drawing to the size that the element has on the page. */
  resize(): void {
    this.element.width = Math.max(1, Math.round(this.element.clientWidth * devicePixelRatio));
    this.element.height = Math.max(1, Math.round(this.element.clientHeight * devicePixelRatio));
    this.draw();
  }

  /** Ends the drawing and gives the graphics memory back. */
  remove(): void {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#gl.getExtension("WEBGL_lose_context")?.loseContext();
    this.element.remove();
  }

  readonly #turn = (): void => {
    this.draw();
    const again = (): void => {
      this.#frame = requestAnimationFrame(this.#turn);
    };
    if (this.still()) this.#timer = setTimeout(again, STILL_INTERVAL_MS);
    else again();
  };

  /** Draws the present instant. Called by itself; the map calls it as well while it moves, so that both move as one. */
  draw(): void {
    const gl = this.#gl;
    const now = this.nowUnixS();
    if (this.#nextTrack && now >= this.#nextTrack.startUnixS) {
      this.#track = this.#nextTrack;
      this.#nextTrack = null;
    }
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const track = this.#track;
    if (!track) return;
    const camera = this.camera();
    const matrix = matrixOf(camera, gl.drawingBufferWidth / devicePixelRatio, gl.drawingBufferHeight / devicePixelRatio);
    this.#drawLinks(track, matrix, now);
    this.#drawSatellites(track, matrix, now, camera);
  }

  /** Uploads a new track once and points the two attributes at the two steps around now. */
  #point(track: PositionTrack, step: number): void {
    const gl = this.#gl;
    gl.bindVertexArray(this.#array);
    if (this.#uploaded === track && this.#pointedStep === step) return;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffer);
    if (this.#uploaded !== track) gl.bufferData(gl.ARRAY_BUFFER, track.kilometres, gl.STATIC_DRAW);
    for (const location of [0, 1]) {
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, 3, gl.FLOAT, false, 0, (step + location) * track.count * 12);
    }
    this.#uploaded = track;
    this.#pointedStep = step;
  }

  #drawSatellites(track: PositionTrack, matrix: Float32Array, now: number, camera: Camera): void {
    const gl = this.#gl;
    const points = this.#points;
    const { step, share } = stepAt(track, now);
    const scale = devicePixelRatio;
    points.use();
    this.#point(track, step);
    gl.uniformMatrix4fv(points.uniform("u_matrix"), false, matrix);
    gl.uniform1f(points.uniform("u_share"), share);
    const draw = (first: number, count: number, colour: Colour, size: number, ring: number): void => {
      gl.uniform4fv(points.uniform("u_colour"), colour);
      gl.uniform1f(points.uniform("u_size"), size * scale);
      gl.uniform1f(points.uniform("u_ring"), ring * scale);
      gl.drawArrays(gl.POINTS, first, count);
    };
    const dotPx = Math.min(Math.max(1.1 * Math.log2(camera.worldPx / 512), 3), 7); // larger as one zooms in
    draw(0, track.count, this.colours.satellite, dotPx, 0);
    for (const { satellite, selected } of this.#links) {
      if (satellite < 0 || satellite >= track.count) continue;
      draw(satellite, 1, this.colours.serving, 9, 0);
      draw(satellite, 1, this.colours.serving, selected ? 24 : 18, selected ? 3 : 1.75);
    }
    this.#flashes = this.#flashes.filter(({ sinceUnixS }) => now - sinceUnixS < FLASH_S);
    for (const { satellite, sinceUnixS } of this.#flashes) {
      const age = Math.max(0, (now - sinceUnixS) / FLASH_S);
      const [r, g, b] = this.colours.serving;
      if (satellite >= 0 && satellite < track.count) draw(satellite, 1, [r, g, b, 1 - age], 18 + FLASH_GROWTH_PX * age, 3);
    }
  }

  #drawLinks(track: PositionTrack, matrix: Float32Array, now: number): void {
    const gl = this.#gl;
    const links = this.#lines;
    links.use();
    gl.bindVertexArray(this.#emptyArray);
    gl.uniformMatrix4fv(links.uniform("u_matrix"), false, matrix);
    gl.uniform2f(links.uniform("u_viewport"), gl.drawingBufferWidth, gl.drawingBufferHeight);
    const leg = (start: Vector, end: Vector, colour: Colour, width: number, dashes: number): void => {
      gl.uniform3fv(links.uniform("u_start"), start);
      gl.uniform3fv(links.uniform("u_end"), end);
      gl.uniform4fv(links.uniform("u_colour"), colour);
      gl.uniform1f(links.uniform("u_width"), width * devicePixelRatio);
      gl.uniform1f(links.uniform("u_dashes"), dashes);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, (SEGMENTS + 1) * 2);
    };
    for (const { satellite, place, gateway, selected } of this.#links) {
      const position = positionAt(track, satellite, now);
      if (!position) continue;
      const width = selected ? 3.2 : 1.8;
      if (gateway) leg(position, gateway, this.colours.feederLink, width, 14);
      leg(place, position, this.colours.userLink, width, 0);
    }
  }
}
