import { describe, expect, it } from "vitest";

import { randomId, utf8 } from "../../src/keys/bytes";
import { encodeMessage, MalformedMessage, parseMessage, type ApplicationMessage } from "../../src/phone/engine/messages";

const ID = randomId();
const all: ApplicationMessage[] = [
  { type: "text", id: ID, body: "Ciao, «mondo» 🌍", sentAt: 1_750_000_000.25 },
  { type: "receipt", ids: [ID], state: "delivered" },
  { type: "call", callId: ID, step: "invite", sdp: "v=0", commitment: new Uint8Array(32).fill(3), precedence: "flash" },
  { type: "call", callId: ID, step: "ringing" },
  { type: "call", callId: ID, step: "answer", sdp: "v=0", nonce: new Uint8Array(16).fill(1) },
  { type: "call", callId: ID, step: "reveal", nonce: new Uint8Array(16).fill(2) },
  { type: "call", callId: ID, step: "candidate", candidates: [{ candidate: "candidate:1", sdpMid: "0", sdpMLineIndex: 0 }] },
  { type: "call", callId: ID, step: "restart", sdp: "v=0" },
  { type: "call", callId: ID, step: "restarted", sdp: "v=0" },
  { type: "call", callId: ID, step: "decline" },
  { type: "call", callId: ID, step: "busy" },
  { type: "call", callId: ID, step: "cancel" },
  { type: "call", callId: ID, step: "end", reason: "media" },
];

describe("application messages", () => {
  it.each(all)("go there and back: $type $step", (message) => {
    expect(parseMessage(encodeMessage(message))).toEqual(message);
  });

  it("use the names of the protocol", () => {
    expect(JSON.parse(new TextDecoder().decode(encodeMessage(all[0] as ApplicationMessage)))).toHaveProperty("sent_at");
    expect(JSON.parse(new TextDecoder().decode(encodeMessage(all[3] as ApplicationMessage)))).toEqual({ type: "call", call_id: ID, step: "ringing" });
  });

  it("ignore what this version does not know", () => {
    expect(parseMessage(utf8('{"type":"position","lat":1}'))).toBeNull();
    expect(parseMessage(utf8(`{"type":"call","call_id":"${ID}","step":"hold"}`))).toBeNull();
    expect(parseMessage(utf8(`{"type":"receipt","ids":["${ID}"],"state":"smelt"}`))).toBeNull();
  });

  it.each([
    "",
    "[]",
    "null",
    '{"type":"text"}',
    '{"type":"text","id":"X","body":"","sent_at":1}',
    `{"type":"text","id":"${ID}","body":7,"sent_at":1}`,
    `{"type":"text","id":"${ID}","body":"${"x".repeat(10_001)}","sent_at":1}`,
    `{"type":"text","id":"${ID}","body":"","sent_at":"now"}`,
    `{"type":"receipt","ids":["../x"],"state":"delivered"}`,
    `{"type":"call","call_id":"${ID}","step":"invite","sdp":"v=0","commitment":"AAAA","precedence":"routine"}`,
    `{"type":"call","call_id":"${ID}","step":"invite","sdp":"v=0","commitment":"${"A".repeat(43)}=","precedence":"king"}`,
    `{"type":"call","call_id":"${ID}","step":"answer","sdp":"v=0","nonce":"!"}`,
    `{"type":"call","call_id":"${ID}","step":"candidate","candidates":[7]}`,
    `{"type":"call","call_id":"short","step":"ringing"}`,
  ])("are refused when malformed: %s", (wire) => {
    expect(() => parseMessage(utf8(wire))).toThrow(MalformedMessage);
  });

  it("are refused when they are not UTF-8", () => {
    expect(() => parseMessage(Uint8Array.of(0x22, 0xff, 0x22))).toThrow(MalformedMessage);
  });
});
