import type { ComponentChildren } from "preact";

/** A table that scrolls sideways in a narrow window, by keyboard too. `heads` are the columns' headings, `children` the rows. */
export function CardTable({ label, heads, children }: { label: string; heads: readonly ComponentChildren[]; children: ComponentChildren }) {
  return (
    <div class="table-scroll card-table" role="region" aria-label={label} tabIndex={0}>
      <table class="table">
        <caption class="visually-hidden">{label}</caption>
        <thead>
          <tr>
            {heads.map((head, i) => (
              <th key={i} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
