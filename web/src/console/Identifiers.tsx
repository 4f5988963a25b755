const ID = /\b([0-9a-f]{8})[0-9a-f]{24}\b/g;

/** Text in which ids of 32 hexadecimal digits are cut to eight; the whole text is one hover or copy away. */
export function Identifiers({ text }: { text: string }) {
  return (
    <span class="identifier" title={text}>
      {text.replace(ID, "$1")}
    </span>
  );
}
