// What a person may be shown of somebody else's file: a name that is only a name, and pictures of a fixed list of kinds.

import type { AttachedFile } from "../model";

export const MAX_NAME_CHARACTERS = 120;
/** Kinds that the browser may draw. Everything else is saved to disk or not opened at all: SVG and HTML are programs. */
const PICTURES = ["image/png", "image/jpeg", "image/webp", "image/gif"];
const VOICES = ["audio/webm", "audio/ogg", "audio/mp4"];

export function isPicture(file: AttachedFile): boolean {
  return file.voiceS === null && PICTURES.includes(file.mediaType);
}

/** The type under which a browser may get it. */
export function safeType(file: AttachedFile): string {
  if (file.voiceS !== null) return VOICES.find((known) => known === file.mediaType) ?? "audio/webm";
  return isPicture(file) ? file.mediaType : "application/octet-stream";
}

/** A media type without parameters, or the one that says nothing. */
export function plainType(mediaType: string): string {
  const type = (mediaType.split(";")[0] ?? "").trim().toLowerCase();
  return /^[a-z]+\/[a-z0-9.+-]{1,60}$/.test(type) ? type : "application/octet-stream";
}

/**
 * A name without a path, without control and formatting characters (which can turn "exe.pdf" around), without a leading dot, and not too
 * long: its ending stays.
 */
export function safeName(name: string): string {
  const last = name.normalize("NFC").split(/[/\\]/).at(-1) ?? "";
  const shown = last
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}<>:"|?*]/gu, "")
    .trim()
    .replace(/^\.+/, "");
  if (shown === "") return "file";
  const characters = [...shown];
  if (characters.length <= MAX_NAME_CHARACTERS) return shown;
  const ending = /\.[^.]{1,16}$/u.exec(shown)?.[0] ?? "";
  return characters.slice(0, MAX_NAME_CHARACTERS - [...ending].length).join("") + ending;
}
