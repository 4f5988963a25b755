import { useRef, useState } from "preact/hooks";
import { ApiError } from "../../api/client";
import { format, t } from "../../i18n";
import { fromBase64 } from "../../keys/bytes";
import { announce } from "../../ui/Announcer";
import { CardTable } from "../CardTable";
import type { Block, PlanShown } from "./Plan";

const BLOCKS: readonly Block[] = ["sib19", "sib31"];

function at(unixS: number): string {
  return format.clockWithSeconds(unixS * 1000);
}

/** What the cells of the beams lit in one dwell tell phones: to read, and as octets for the satellites' operator. */
export function Told({ plan, dwell, again }: { plan: PlanShown; dwell: number; again: (block: Block) => Promise<PlanShown> }) {
  const [block, setBlock] = useState<Block>("sib19");
  const [fault, setFault] = useState<string | null>(null);
  const [working, setWorking] = useState(false);
  const made = useRef(new Map<Block, PlanShown>());
  const lit = plan.beams.map((beam, index) => ({ beam, index })).filter(({ beam }) => beam.dwell === dwell);

  const download = async (index: number) => {
    setFault(null);
    setWorking(true);
    try {
      const whole = made.current.get(block) ?? (await again(block));
      made.current.set(block, whole);
      const [meant, found] = [plan.beams[index], whole.beams[index]];
      // Another fleet may have been loaded meanwhile: then these are not the blocks of the beams on screen.
      if (!found?.block || found.satellite !== meant?.satellite || found.epoch_at !== meant.epoch_at) return setFault(t("warnings.plan.changed"));
      const address = URL.createObjectURL(new Blob([fromBase64(found.block)], { type: "application/octet-stream" }));
      const link = document.createElement("a");
      link.href = address;
      link.download = `${block}-${String(index + 1).padStart(4, "0")}-${new Date(found.epoch_at * 1000).toISOString().slice(11, 19).replaceAll(":", "")}.bin`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      announce(t("warnings.plan.saved"));
    } catch (reason) {
      setFault(reason instanceof ApiError ? reason.message : t("console.unreachable"));
    } finally {
      setWorking(false);
    }
  };

  return (
    <div class="warning-told">
      <h4>{t("warnings.plan.told")}</h4>
      <p class="quiet">{t("warnings.plan.toldLead")}</p>
      <div class="field">
        <label for="plan-block">{t("warnings.plan.block")}</label>
        <select id="plan-block" class="input" value={block} onChange={({ currentTarget }) => setBlock(BLOCKS.find((each) => each === currentTarget.value) ?? "sib19")}>
          {BLOCKS.map((each) => (
            <option key={each} value={each}>
              {t(`warnings.plan.${each}`)}
            </option>
          ))}
        </select>
      </div>
      {fault && (
        <p class="field-error" role="alert">
          {fault}
        </p>
      )}
      {lit.length === 0 ? (
        <p class="quiet">{t("warnings.plan.noBeam")}</p>
      ) : (
        <CardTable
          label={t("warnings.plan.told")}
          heads={[t("warnings.plan.satellite"), t("warnings.plan.middle"), t("warnings.plan.epoch"), t("warnings.plan.valid"), t("warnings.plan.leaves"), t("warnings.plan.octets")]}
        >
          {lit.map(({ beam, index }) => (
            <tr key={index}>
              <th scope="row">{beam.satellite}</th>
              <td>{`${beam.latitude_deg.toFixed(2)}, ${beam.longitude_deg.toFixed(2)}`}</td>
              <td>{at(beam.epoch_at)}</td>
              <td>{t("warnings.plan.validS", { seconds: beam.valid_s, ms: beam.k_offset_ms })}</td>
              <td>{beam.stops_at === null ? "–" : at(beam.stops_at)}</td>
              <td>
                <button type="button" class="button button-small" disabled={working} aria-label={t("warnings.plan.saveOf", { satellite: beam.satellite, number: index + 1 })} onClick={() => void download(index)}>
                  {t("warnings.plan.save")}
                </button>
              </td>
            </tr>
          ))}
        </CardTable>
      )}
    </div>
  );
}
