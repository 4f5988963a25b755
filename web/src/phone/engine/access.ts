// Where the phone is and over which carrier it speaks: what was chosen, and the path that follows from it.

import type { Schemas } from "../../api/client";
import type { AccessOption, PathView, PhoneState } from "../model";
import { pathView, type PathProfile } from "./path";
import type { Session } from "./session";

const PATH_SECONDS = 120;

export class Access {
  private path: { profile: PathProfile; simulated: boolean } | null = null;

  constructor(
    private readonly session: Session,
    private readonly environment: { now: () => number },
  ) {}

  /** What can be chosen, and what is. Rejects with ApiError or Unreachable. */
  async options(): Promise<NonNullable<PhoneState["access"]>> {
    const options = await this.session.call<Schemas["AccessOptions"]>("GET", "/api/v1/access-options");
    const places = options.places.map((place): AccessOption => ({ id: place.place_id, name: place.name, detail: place.country }));
    const carriers = options.carriers.map((carrier): AccessOption => ({ id: carrier.carrier_id, name: carrier.name, detail: `${carrier.kind}, ${carrier.operator}` }));
    return { placeId: options.chosen.place_id, carrierId: options.chosen.carrier_id, places, carriers };
  }

  async choose(placeId: string, carrierId: string): Promise<void> {
    const access: Schemas["Access"] = { place_id: placeId, carrier_id: carrierId };
    await this.session.call("PUT", "/api/v1/me/access", access);
  }

  /** The path of the coming seconds. Rejects with ApiError or Unreachable. */
  async poll(): Promise<PathProfile> {
    const sentAt = this.environment.now();
    this.path = await this.session.call<Schemas["MyPath"]>("GET", `/api/v1/me/path?seconds=${PATH_SECONDS}`);
    const toldUnixS = this.path.profile.time_unix_s[0]; // a profile begins at the server's present
    if (toldUnixS !== undefined) this.session.clock.observe(toldUnixS, sentAt, this.environment.now(), 0);
    return this.path.profile;
  }

  /** The path as it is now; null before it was asked for. */
  view(): PathView | null {
    return this.path === null ? null : pathView(this.path.profile, this.path.simulated, this.session.serverUnixS());
  }
}
