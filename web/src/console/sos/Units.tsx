import { format, t } from "../../i18n";
import type { Unit, UnitPage } from "../api";
import { CardTable } from "../CardTable";

export const nameOf = ({ callsign, uid }: Unit): string => callsign || uid;
export const isStale = ({ stale_at: staleAt }: Unit, nowS: number): boolean => staleAt <= nowS;

function where({ latitude_deg: latitude, longitude_deg: longitude, radius_m: radius }: Unit): string {
  const at = `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`;
  return radius === null ? at : t("sos.where", { at, metres: Math.round(radius) });
}

function Row({ unit, nowS }: { unit: Unit; nowS: number }) {
  const { link, at, stale_at: staleAt, speed_m_s: speed, course_deg: course, emergency, must_not_emit: silent } = unit;
  const stale = isStale(unit, nowS);
  return (
    <tr class={stale ? "unit-stale" : undefined}>
      <th scope="row">
        {nameOf(unit)} {emergency && <span class="badge badge-danger">{t("units.emergency")}</span>} {silent && <span class="badge">{t("units.mustNotEmit")}</span>}
      </th>
      <td>{where(unit)}</td>
      <td>{speed === null || course === null ? "–" : t("units.moves", { speed: Math.round(speed * 3.6), course: Math.round(course) })}</td>
      <td>{t("units.ago", { duration: format.duration(Math.max(0, nowS - at)) })}</td>
      <td>{stale ? <span class="badge badge-warn">{t("units.stale")}</span> : t("units.holds", { duration: format.duration(staleAt - nowS) })}</td>
      <td>{link}</td>
    </tr>
  );
}

/** Whoever is in the field, as TAK servers tell it: everything that the map shows of them, in words. */
export function Units({ page, nowS }: { page: UnitPage; nowS: number }) {
  if (page.links.length === 0 && page.units.length === 0) return null;
  return (
    <div class="units">
      <h2>{t("units.title")}</h2>
      <ul class="warning-controllers" aria-label={t("units.links")}>
        {page.links.map(({ name, connected, fault, sends, receive_only: receiveOnly }) => (
          <li key={name}>
            <span class={connected ? "badge badge-good" : "badge badge-danger"}>{t(connected ? "units.connected" : "units.disconnected")}</span> {name} ·{" "}
            {receiveOnly ? t("units.receiveOnly") : sends.length > 0 ? t("units.sends", { what: sends.map((each) => t(`units.sent.${each}`)).join(", ") }) : t("units.sendsNothing")}{" "}
            {!connected && <span class="quiet">{fault}</span>}
          </li>
        ))}
      </ul>
      {page.units.length === 0 ? (
        <p class="empty">{t("units.none")}</p>
      ) : (
        <CardTable label={t("units.title")} heads={[t("units.name"), t("units.where"), t("units.way"), t("units.heard"), t("units.until"), t("units.link")]}>
          {page.units.map((unit) => (
            <Row key={`${unit.link} ${unit.uid}`} unit={unit} nowS={nowS} />
          ))}
        </CardTable>
      )}
      <p class="quiet">{t("units.kept", { duration: format.duration(page.kept_s) })}</p>
    </div>
  );
}
