import { type Child, html } from '#src/ui/page/dom.ts';

export interface Column<Row> {
  readonly title: string;
  /** Text stays text; `node` makes something else, and is made again whenever `text` changes. */
  readonly text: (row: Row) => string;
  readonly node?: (row: Row) => Child;
  readonly className?: string;
}

/** So many rows are shown at first, and added by the button: a browser lays out every row with each change. */
const PAGE = 100;

/**
 * A table that is shown again and again with other rows. A row keeps its element by its key, and a cell is written only when it
 * changes, so the focus stays where it is and a screen reader does not begin again.
 */
export class KeyedTable<Row> {
  readonly element: HTMLElement;
  readonly #columns: readonly Column<Row>[];
  readonly #keyOf: (row: Row) => string;
  readonly #caption: HTMLTableCaptionElement;
  readonly #body = html('tbody');
  readonly #more = html('button', { type: 'button' }, `Show ${PAGE} more`);
  readonly #shown = new Map<string, { readonly element: HTMLTableRowElement; readonly texts: string[] }>();
  #most = PAGE;
  #rows: readonly Row[] = [];
  #about = '';

  constructor(keyOf: (row: Row) => string, columns: readonly Column<Row>[]) {
    this.#columns = columns;
    this.#keyOf = keyOf;
    this.#caption = html('caption');
    const titles = columns.map(({ title, className }) =>
      html('th', { scope: 'col', class: className }, title),
    );
    const table = html('table', {}, this.#caption, html('thead', {}, html('tr', {}, ...titles)), this.#body);
    this.element = html('div', {}, html('div', { class: 'scroll' }, table), this.#more);
    this.#more.addEventListener('click', () => {
      this.#most += PAGE;
      this.show(this.#rows, this.#about);
    });
  }

  show(rows: readonly Row[], about: string): void {
    this.#rows = rows;
    this.#about = about;
    const visible = rows.slice(0, this.#most);
    this.#more.hidden = rows.length <= visible.length;
    const count = visible.length < rows.length ? `, the first ${visible.length} of ${rows.length} shown` : '';
    const caption = `${about}${count}`;
    if (this.#caption.textContent !== caption) this.#caption.textContent = caption;
    const keys = new Set(visible.map(this.#keyOf));
    for (const [key, { element }] of this.#shown) {
      if (keys.has(key)) continue;
      element.remove();
      this.#shown.delete(key);
    }
    const focused = document.activeElement;
    for (const [place, row] of visible.entries()) {
      const element = this.#rowFor(row);
      const there = this.#body.children[place];
      if (there !== element) this.#body.insertBefore(element, there ?? null);
    }
    // What is moved loses the focus.
    if (
      focused instanceof HTMLElement &&
      focused !== document.activeElement &&
      this.#body.contains(focused)
    ) {
      focused.focus({ preventScroll: true });
    }
  }

  #rowFor(row: Row): HTMLTableRowElement {
    const key = this.#keyOf(row);
    const shown = this.#shown.get(key) ?? this.#make(key);
    for (const [n, { text, node }] of this.#columns.entries()) {
      const now = text(row);
      const cell = shown.element.cells[n];
      if (cell === undefined || shown.texts[n] === now) continue;
      shown.texts[n] = now;
      const content = node?.(row) ?? now;
      cell.replaceChildren(content);
    }
    return shown.element;
  }

  #make(key: string) {
    const cells = this.#columns.map(({ className }) => html('td', { class: className }));
    const shown = { element: html('tr', { 'data-key': key }, ...cells), texts: [] as string[] };
    this.#shown.set(key, shown);
    return shown;
  }
}
