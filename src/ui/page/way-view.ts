import type { TraceAnswer, TraceHop } from '#src/ui/model/feed.ts';
import { html, labelled } from '#src/ui/page/dom.ts';
import { ask, type View, wordsOf } from '#src/ui/page/view.ts';

/** The way of a packet between two containers or addresses, hop by hop. */
export class WayView implements View {
  readonly title = 'Way of a packet';
  readonly element: HTMLElement;
  readonly #from = html('input', {
    name: 'from',
    required: true,
    list: 'ends',
    placeholder: 'web, or 10.0.65.2',
  });
  readonly #to = html('input', { name: 'to', required: true, list: 'ends', placeholder: 'db, or 10.0.32.2' });
  readonly #button = html('button', { type: 'submit' }, 'Follow it');
  readonly #note = html('p', { class: 'under', role: 'status' });
  readonly #way = html('ol', { class: 'way', 'aria-label': 'Hops' });
  readonly #ends = html('datalist', { id: 'ends' });
  #asked: AbortController | undefined;

  constructor() {
    const form = html(
      'form',
      { class: 'bar' },
      labelled('From', this.#from),
      labelled('To', this.#to),
      this.#button,
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#follow();
    });
    this.element = html(
      'section',
      { 'aria-label': 'Way of a packet' },
      form,
      this.#ends,
      this.#note,
      this.#way,
    );
  }

  open([from, to]: readonly string[]): void {
    void this.#offer();
    if (from === undefined || to === undefined) return;
    this.#from.value = from;
    this.#to.value = to;
    void this.#follow();
  }

  update(): void {}

  close(): void {
    this.#asked?.abort();
  }

  /** Containers to choose from; the fields take any word. */
  async #offer(): Promise<void> {
    const ends = await ask<readonly string[]>('/api/ends').catch(() => []);
    this.#ends.replaceChildren(...ends.map((value) => html('option', { value })));
  }

  async #follow(): Promise<void> {
    this.#asked?.abort();
    const asked = new AbortController();
    this.#asked = asked;
    const [from, to] = [this.#from.value.trim(), this.#to.value.trim()];
    this.#button.disabled = true;
    this.#note.textContent = `following a packet from ${from} to ${to}`;
    this.#way.replaceChildren();
    try {
      const query = new URLSearchParams({ from, to });
      const { hops } = await ask<TraceAnswer>(`/api/trace?${query}`, asked.signal);
      this.#show(hops);
    } catch (error) {
      if (!asked.signal.aborted) this.#note.textContent = wordsOf(error);
    } finally {
      if (this.#asked === asked) this.#button.disabled = false;
    }
  }

  #show(hops: readonly TraceHop[]): void {
    const stop = hops.findIndex(({ ok }) => ok === false);
    const last = hops[stop];
    this.#note.textContent =
      last === undefined
        ? `The packet arrives: ${hops.length} hops.`
        : `The packet stops at hop ${stop + 1} of ${hops.length}, ${last.host}: ${[last.found ?? last.about].flat()[0]}`;
    this.#way.replaceChildren(...hops.map(drawHop));
  }
}

function drawHop({ id, host, way, about, command, found, expected, ok, remedy }: TraceHop): HTMLLIElement {
  const word = ok === true ? 'passes' : ok === false ? 'STOPS HERE' : 'could not be looked at';
  const line = (name: string, text: string | readonly string[] = '') => {
    const lines = typeof text === 'string' ? [text] : text;
    return lines
      .filter((it) => it !== '')
      .map((it, n) => html('p', {}, `${n === 0 ? name : ''} `, html('code', {}, it)));
  };
  return html(
    'li',
    { 'data-ok': ok === true ? 'yes' : ok === false ? 'no' : 'unknown', 'data-hop': id },
    html(
      'h3',
      {},
      `${host}${way === 'back' ? ', on the way back' : ''}: ${about} `,
      html('span', { class: ok === false ? 'trouble' : 'unmoved' }, word),
    ),
    ...line('$', command),
    ...line('found:', found),
    ...(ok === true ? [] : line('expected:', expected)),
    ...line('to mend it:', remedy),
  );
}
