// Line drawings on a 24 × 24 grid. They are decoration: a word or a label always stands beside them.

const DRAWINGS = {
  handset: ["M5.2 3.8h2.9l1.7 4.4-2.2 1.7a12.4 12.4 0 0 0 6.5 6.5l1.7-2.2 4.4 1.7v2.9a1.6 1.6 0 0 1-1.7 1.6A16.2 16.2 0 0 1 3.6 5.5a1.6 1.6 0 0 1 1.6-1.7z"],
  hangUp: ["M2.6 14.6c-.5-1.4.2-3 1.6-3.8a16.4 16.4 0 0 1 15.6 0c1.4.8 2.1 2.4 1.6 3.8l-.4 1-4.6-1.2-.3-2.8a12.6 12.6 0 0 0-8.2 0l-.3 2.8L3 15.6z"],
  incoming: ["M18.5 5.5l-11 11", "M7.5 8.5v8h8"],
  outgoing: ["M5.5 18.5l11-11", "M8.5 7.5h8v8"],
  missed: ["M4 7l7.5 7.5L20 6", "M4 12.5V7h5.5"],
  microphone: ["M12 3.5a2.8 2.8 0 0 1 2.8 2.8v5a2.8 2.8 0 0 1-5.6 0v-5A2.8 2.8 0 0 1 12 3.5z", "M6 11.2a6 6 0 0 0 12 0", "M12 17.2v3.3"],
  microphoneOff: ["M9.2 9.5v1.8a2.8 2.8 0 0 0 4.7 2", "M14.8 10.5V6.3a2.8 2.8 0 0 0-5.4-1", "M6 11.2a6 6 0 0 0 9.7 4.7", "M18 11.2a6 6 0 0 1-.5 2.3", "M12 17.2v3.3", "M4 4l16 16"],
  clock: ["M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16z", "M12 7.8V12l2.8 1.8"],
  check: ["M5 12.8l4.5 4.5L19 7.5"],
  checkTwice: ["M2.5 12.8L7 17.3 16.5 7.5", "M11.5 16.8l.5.5 9.5-9.8"],
  warning: ["M12 4L21 19.5H3z", "M12 10v4.5", "M12 17.1v.1"],
  send: ["M4 12L20 4.5 15.5 20l-4-6.5z", "M11.5 13.5L20 4.5"],
  back: ["M14.5 5.5L8 12l6.5 6.5"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  copy: ["M9 9h10.5v10.5H9z", "M15 5.5v-1H4.5V15h1"],
  lock: ["M6 11h12v8.5H6z", "M8.5 11V8a3.5 3.5 0 0 1 7 0v3"],
  message: ["M4 5.5h16v11h-9l-4.5 3.5v-3.5H4z"],
  satellite: ["M9.5 8.5l6 6-2.5 2.5-6-6z", "M7.8 6.8L5.3 4.3 2.8 6.8l2.5 2.5z", "M17.2 16.2l2.5 2.5-2.5 2.5-2.5-2.5z", "M15.5 4a5 5 0 0 1 4.5 4.5", "M15.8 7.2a2 2 0 0 1 1.2 1.3"],
  place: ["M12 21s6.5-6 6.5-11a6.5 6.5 0 0 0-13 0c0 5 6.5 11 6.5 11z", "M12 7.8a2.2 2.2 0 1 1 0 4.4 2.2 2.2 0 0 1 0-4.4z"],
  person: ["M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8z", "M4.5 20c.6-3.8 3.6-5.8 7.5-5.8s6.9 2 7.5 5.8"],
  ticket: ["M3.5 7h17v3.2a1.9 1.9 0 0 0 0 3.7V17h-17v-3.1a1.9 1.9 0 0 0 0-3.7z", "M14 7v2", "M14 11v2", "M14 15v2"],
  list: ["M8.5 6.5H20", "M8.5 12H20", "M8.5 17.5H20", "M4.3 6.5h.2", "M4.3 12h.2", "M4.3 17.5h.2"],
  quiet: ["M19.5 14.2A8 8 0 1 1 9.8 4.5a6.4 6.4 0 0 0 9.7 9.7z"],
  attach: ["M19.5 11.5l-7.6 7.6a4.6 4.6 0 0 1-6.5-6.5L13.6 4.4a3.1 3.1 0 0 1 4.4 4.4l-8.1 8.1a1.5 1.5 0 0 1-2.2-2.2l7.4-7.4"],
  file: ["M6 3.5h8l4.5 4.5v12.5H6z", "M13.5 3.5V8.5h5"],
  offline: ["M4 4l16 16", "M8 8.5a10 10 0 0 0-4 2.4", "M12 7.5c3 0 5.8 1.2 8 3.4", "M7.3 14.2A6.6 6.6 0 0 1 12 12.3", "M12 18v.1"],
} as const satisfies Record<string, readonly string[]>;

export type IconName = keyof typeof DRAWINGS;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      {DRAWINGS[name].map((d) => (
        <path key={d} d={d} />
      ))}
    </svg>
  );
}
