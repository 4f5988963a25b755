// Satellite positions over a few time steps, as GET /api/v1/console/positions sends them (docs/protocols.md, Administration).

const HEADER_BYTES = 24;

export interface PositionTrack {
  count: number;
  steps: number;
  startUnixS: number;
  stepS: number;
  /** ITRS kilometres, [steps][count][3]; NaN for a satellite that is no more. */
  kilometres: Float32Array;
}

export type Vector = readonly [number, number, number];

/** Reads the little-endian octets. Throws a RangeError if the length does not match the header. */
export function parsePositions(octets: ArrayBuffer): PositionTrack {
  if (octets.byteLength < HEADER_BYTES) throw new RangeError("positions: too short for a header");
  const header = new DataView(octets, 0, HEADER_BYTES);
  const count = header.getUint32(0, true);
  const steps = header.getUint32(4, true);
  const startUnixS = header.getFloat64(8, true);
  const stepS = header.getFloat64(16, true);
  if (steps < 2 || !(stepS > 0) || !Number.isFinite(startUnixS)) throw new RangeError("positions: at least two steps in time are needed");
  if (octets.byteLength !== HEADER_BYTES + steps * count * 12) throw new RangeError("positions: length and header differ");
  // every machine that runs WebGL is little-endian, as the octets are
  return { count, steps, startUnixS, stepS, kilometres: new Float32Array(octets, HEADER_BYTES) };
}

/** The step before an instant and the share of the way to the next; held at the ends. */
export function stepAt(track: PositionTrack, unixS: number): { step: number; share: number } {
  const elapsed = (unixS - track.startUnixS) / track.stepS;
  const step = Math.min(Math.max(Math.floor(elapsed), 0), track.steps - 2);
  return { step, share: Math.min(Math.max(elapsed - step, 0), 1) };
}

/** Where one satellite is: kilometres ITRS; null if it is not there. */
export function positionAt(track: PositionTrack, satellite: number, unixS: number): Vector | null {
  if (!(satellite >= 0 && satellite < track.count)) return null;
  const { step, share } = stepAt(track, unixS);
  const from = (step * track.count + satellite) * 3;
  const to = from + track.count * 3;
  const at = (axis: number): number => {
    const a = track.kilometres[from + axis] ?? NaN;
    return a + share * ((track.kilometres[to + axis] ?? NaN) - a);
  };
  const position: Vector = [at(0), at(1), at(2)];
  return position.every(Number.isFinite) ? position : null;
}

export function endUnixS(track: PositionTrack): number {
  return track.startUnixS + (track.steps - 1) * track.stepS;
}

/** WGS 84 (NGA.STND.0036): equatorial radius and square of the first eccentricity. */
export const WGS84_A_KM = 6378.137;
export const WGS84_E2 = 0.00669437999;

/** A place on the ellipsoid, kilometres ITRS. */
export function groundVector(latitudeDeg: number, longitudeDeg: number): Vector {
  const [latitude, longitude] = [(latitudeDeg * Math.PI) / 180, (longitudeDeg * Math.PI) / 180];
  const n = WGS84_A_KM / Math.sqrt(1 - WGS84_E2 * Math.sin(latitude) ** 2);
  const equatorial = n * Math.cos(latitude);
  return [equatorial * Math.cos(longitude), equatorial * Math.sin(longitude), n * (1 - WGS84_E2) * Math.sin(latitude)];
}
