// What the page says and draws of an exercise that is played beside the server, or was.

import type { Exercise, ExerciseNow } from "../api";

/** A player says where it is about once a second while it works. After so long without a word it has been stopped, or its machine has. */
export const SILENT_AFTER_S = 30;

/** What the map shows: phones that hear no site, who is warned in the run that is played, or in one that is over. */
export type Shows = "cut" | "now" | number;

export function isPlaying(now: ExerciseNow, serverS: number): boolean {
  return now.state === "playing" && serverS - now.told_at < SILENT_AFTER_S;
}

/** The last instant that the exercise has a picture of by then. */
export function frameAt(exercise: Exercise, seconds: number): number {
  const after = exercise.at_s.findIndex((at) => at > seconds);
  return after < 0 ? exercise.at_s.length - 1 : Math.max(0, after - 1);
}

/** Percent by municipality; −1 outside of the warning. */
export function shares(exercise: Exercise, now: ExerciseNow, shows: Shows, frame: number): readonly number[] {
  const none = () => exercise.places.map(() => -1);
  if (shows === "cut") return exercise.cut_off[frame] ?? none();
  if (shows === "now") return now.warned.length === exercise.places.length ? now.warned : none();
  return exercise.runs[shows]?.warned[frame] ?? none();
}

export interface Town {
  name: string;
  people: number;
  percent: number;
  dark: boolean;
}

/** The towns in which most people hear no site, or most are not warned yet; at most so many. */
export function worst(exercise: Exercise, values: readonly number[], shows: Shows, frame: number, most: number): Town[] {
  const weight = (town: Town) => town.people * (shows === "cut" ? town.percent : 100 - town.percent);
  return exercise.places
    .map(({ name, people }, n) => ({ name, people, percent: values[n] ?? -1, dark: exercise.dark[frame]?.[n] ?? false }))
    .filter((town) => town.percent >= 0 && weight(town) > 0)
    .sort((one, other) => weight(other) - weight(one))
    .slice(0, most);
}
