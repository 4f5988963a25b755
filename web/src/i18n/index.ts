// Every word that a person sees comes from the two catalogues beside this file; dates and figures come from Intl.

import { computed, effect, signal } from "@preact/signals";
import { createInstance, type TFunction } from "i18next";
import en from "./en.json";
import it from "./it.json";

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: typeof en };
  }
}

export const LANGUAGES = ["en", "it"] as const;
export type Language = (typeof LANGUAGES)[number];

const STORAGE_KEY = "tramontana.language";
/** Dates in the European manner: 24 hours, day before month. */
const LOCALES: Record<Language, string> = { en: "en-GB", it: "it-IT" };

const instance = createInstance();
void instance.init({
  lng: "en",
  fallbackLng: false,
  initAsync: false,
  showSupportNotice: false,
  interpolation: { escapeValue: false }, // Preact escapes text itself
  resources: { en: { translation: en }, it: { translation: it } },
});

function isLanguage(value: string | null | undefined): value is Language {
  return LANGUAGES.some((language) => language === value);
}

function remembered(): string | null {
  try {
    return globalThis.localStorage?.getItem(STORAGE_KEY) ?? null;
  } catch {
    return null; // storage may be forbidden; the choice then lasts as long as the page
  }
}

function initialLanguage(): Language {
  const wishes = [remembered(), ...(globalThis.navigator?.languages ?? []).map((tag) => tag.slice(0, 2))];
  return wishes.find(isLanguage) ?? "en";
}

export const language = signal<Language>(initialLanguage());

export function chooseLanguage(chosen: Language): void {
  language.value = chosen;
  try {
    globalThis.localStorage?.setItem(STORAGE_KEY, chosen);
  } catch {
    // see remembered()
  }
}

/** Keeps `<html lang>` true, so that a screen reader pronounces what it reads. */
export function watchDocumentLanguage(): void {
  effect(() => {
    document.documentElement.lang = language.value;
  });
}

const translators = computed(() => instance.getFixedT(language.value));

/** The sentence of a key in the chosen language. A component that calls it is drawn again when the language changes. */
export const t = ((...args: Parameters<typeof translators.value>) => Reflect.apply(translators.value, undefined, args)) as unknown as TFunction;

const locale = computed(() => LOCALES[language.value]);

function formatter<Options, Format>(make: (tag: string, options: Options) => Format, options: Options) {
  return computed(() => make(locale.value, options));
}

const dateTime = (tag: string, options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(tag, options);
const number = (tag: string, options: Intl.NumberFormatOptions) => new Intl.NumberFormat(tag, options);

const clock = formatter(dateTime, { hour: "2-digit", minute: "2-digit" });
const clockWithSeconds = formatter(dateTime, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = formatter(dateTime, { weekday: "long", day: "numeric", month: "long" });
const dayAndClock = formatter(dateTime, { dateStyle: "medium", timeStyle: "short" });
const relativeDay = formatter((tag, options: Intl.RelativeTimeFormatOptions) => new Intl.RelativeTimeFormat(tag, options), { numeric: "auto" });
const integer = formatter(number, { maximumFractionDigits: 0 });
const dayShort = formatter(dateTime, { day: "numeric", month: "short" });
const degrees = formatter(number, { style: "unit", unit: "degree", unitDisplay: "narrow", maximumFractionDigits: 0 });
const decimal = formatter(number, { maximumFractionDigits: 1 });
const percent = formatter(number, { style: "percent", maximumFractionDigits: 1 });

const DAY_MS = 86_400_000;

function midnight(at: number): number {
  const date = new Date(at);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** All instants are milliseconds since 1970, shown in the time zone of the device. */
export const format = {
  clock: (at: number): string => clock.value.format(at),
  clockWithSeconds: (at: number): string => clockWithSeconds.value.format(at),
  dayAndClock: (at: number): string => dayAndClock.value.format(at),
  /** "today", "yesterday", else weekday and date. */
  day(at: number, now: number): string {
    const daysAgo = Math.round((midnight(now) - midnight(at)) / DAY_MS);
    return daysAgo >= 0 && daysAgo < 2 ? relativeDay.value.format(-daysAgo, "day") : day.value.format(at);
  },
  /** As short as a list allows: the clock today, "yesterday", else day and month. */
  recent(at: number, now: number): string {
    const daysAgo = Math.round((midnight(now) - midnight(at)) / DAY_MS);
    if (daysAgo === 0) return clock.value.format(at);
    return daysAgo === 1 ? relativeDay.value.format(-1, "day") : dayShort.value.format(at);
  },
  /** B, kB or MB, in thousands. */
  octets(value: number): string {
    if (value < 1_000) return `${integer.value.format(value)}\u00a0B`;
    if (value < 1_000_000) return `${integer.value.format(Math.ceil(value / 1_000))}\u00a0kB`;
    return `${decimal.value.format(value / 1_000_000)}\u00a0MB`;
  },
  integer: (value: number): string => integer.value.format(value),
  // SI symbols are the same in both languages; Intl would write "9 secs"
  milliseconds: (value: number): string => `${integer.value.format(value)}\u00a0ms`,
  seconds: (value: number): string => `${integer.value.format(value)}\u00a0s`,
  degrees: (value: number): string => degrees.value.format(value),
  decimal: (value: number): string => decimal.value.format(value),
  percent: (share: number): string => percent.value.format(share),
  /** m:ss or h:mm:ss, as a telephone shows it. */
  duration(totalSeconds: number): string {
    const whole = Math.max(0, Math.floor(totalSeconds));
    const pad = (value: number): string => String(value).padStart(2, "0");
    const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
  },
};
