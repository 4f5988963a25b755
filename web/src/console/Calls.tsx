import { format, t } from "../i18n";
import { Avatar } from "../ui/Avatar";
import { Icon } from "../ui/icons";
import { useNow } from "../ui/useNow";
import type { CallInProgress, ConsoleApi } from "./api";
import { ErrorNotice } from "./ErrorNotice";
import { useLoaded } from "./useLoaded";

const REFRESH_MS = 3_000;

function Call({ call, nowS, placeNames }: { call: CallInProgress; nowS: number; placeNames: ReadonlyMap<string, string> }) {
  return (
    <li class="card call-card">
      <div class="call-card-head">
        <h2 class="figures">{t("calls.running", { duration: format.duration(nowS - call.began_at) })}</h2>
        <span class="badge">{t(`precedence.${call.precedence}`)}</span>
      </div>
      <ul class="call-people">
        {call.participants.map((person) => (
          <li key={person.device_id} class="person">
            <Avatar name={person.display_name} />
            <span>
              <strong>{person.display_name}</strong>
              <span class="quiet">
                {[
                  t(person.online ? "presence.online" : "presence.offline"),
                  placeNames.get(person.place_id) ?? person.place_id,
                  person.carrier_id,
                ]
                  .filter(Boolean)
                  .join(" · ")}
              </span>
            </span>
          </li>
        ))}
      </ul>
    </li>
  );
}

/** Who is talking with whom since when. What they say is not here: the server does not know it. */
export function Calls({ api }: { api: ConsoleApi }) {
  const { value: calls, error } = useLoaded(() => api.calls(), REFRESH_MS);
  const { value: sky } = useLoaded(() => api.sky());
  const placeNames = new Map(sky?.places.map((place) => [place.place_id, place.name]));
  useNow(1000);
  return (
    <div class="page">
      <h1>{t("console.view.calls")}</h1>
      <p class="quiet with-icon">
        <Icon name="lock" size={18} />
        {t("calls.noContent")}
      </p>
      {error && <ErrorNotice error={error} />}
      {calls?.length === 0 && <p class="empty">{t("calls.empty")}</p>}
      <ul class="call-cards">
        {calls?.map((call) => (
          <Call key={call.call_id} call={call} nowS={api.nowS()} placeNames={placeNames} />
        ))}
      </ul>
    </div>
  );
}
