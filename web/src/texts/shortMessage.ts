// How many short messages a text takes, as the server will write it (cell/short_message.py; 3GPP TS 23.040 §9.2.3.24).

import { missing, septetsOf } from "./gsmAlphabet";

const GSM7 = { single: 160, part: 153 };
/** Octets: UCS-2 goes out as UTF-16, and a surrogate pair is never parted. */
const UCS2 = { single: 140, part: 134 };
/** The server takes no more for one text. */
export const MAX_PARTS = 10;

export interface Count {
  alphabet: "gsm-7" | "ucs-2";
  /** Septets, or UTF-16 units. */
  used: number;
  /** How many fit into as many messages as it takes. */
  room: number;
  messages: number;
  fits: boolean;
  /** The characters that the GSM alphabet lacks: they halve the room. */
  lacking: string;
}

export function countMessages(text: string): Count {
  const lacking = missing(text);
  const gsm = lacking === "";
  const units = [...text].map((character) => (gsm ? septetsOf(character) : 2 * character.length));
  const { single, part } = gsm ? GSM7 : UCS2;
  const total = units.reduce((sum, unit) => sum + unit, 0);
  let messages = 1;
  if (total > single) {
    let filled = 0;
    for (const unit of units) {
      if (filled + unit > part) {
        messages++;
        filled = 0;
      }
      filled += unit;
    }
  }
  const width = gsm ? 1 : 2;
  const room = messages === 1 ? single : messages * part;
  return { alphabet: gsm ? "gsm-7" : "ucs-2", used: total / width, room: room / width, messages, fits: messages <= MAX_PARTS, lacking };
}
