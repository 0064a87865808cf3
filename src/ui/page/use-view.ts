import type { Leases, LeaseView } from '#src/observe/api.ts';
import type { LiveState } from '#src/ui/model/live-state.ts';
import { html, labelled, setOptions, setText } from '#src/ui/page/dom.ts';
import { KeyedTable } from '#src/ui/page/keyed-table.ts';
import { ask, type View, wordsOf } from '#src/ui/page/view.ts';

const REFRESH_MS = 5_000;
/** From here on a network is nearly full. */
const NEARLY_FULL = 0.8;
/** Seconds: a lease is renewed an hour before its end, so one with less is in trouble. */
const SOON = 3_600;

/** How much of the network's range is given out, and which leases need a look. */
export class UseView implements View {
  readonly title = 'Utilisation';
  readonly element: HTMLElement;
  readonly #choice = html('select');
  readonly #sentence = html('p', { id: 'use-sentence', role: 'status' }, 'The leases are being read.');
  readonly #bar = html('div');
  readonly #gauge = html(
    'div',
    { class: 'gauge', role: 'img', 'aria-labelledby': 'use-sentence' },
    this.#bar,
  );
  readonly #table: KeyedTable<LeaseView>;
  #timer: number | undefined;

  constructor() {
    this.#table = new KeyedTable(
      ({ lease }) => lease,
      [
        { title: 'Subnet', text: ({ subnet, lease }) => subnet ?? lease },
        { title: 'Public IP', text: ({ publicIp }) => publicIp ?? '' },
        { title: 'Node', text: ({ node }) => node ?? '' },
        { title: 'Why', text: whyOf },
      ],
    );
    this.#choice.addEventListener('change', () => void this.#refresh());
    this.element = html(
      'section',
      { 'aria-label': 'Utilisation' },
      html('div', { class: 'bar' }, labelled('As seen by', this.#choice)),
      this.#sentence,
      this.#gauge,
      html('h2', {}, 'Leases that need a look'),
      this.#table.element,
    );
  }

  open(): void {
    this.#timer = setInterval(() => void this.#refresh(), REFRESH_MS);
    void this.#refresh();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  update(state: LiveState): void {
    const before = this.#choice.value;
    const networks = [...state.sources.values()].filter(({ kind }) => kind === 'network');
    setOptions(
      this.#choice,
      networks.map(({ id, host, network }) => [id, network === undefined ? host : `${host}, ${network}`]),
    );
    if (this.#choice.value !== before) void this.#refresh();
  }

  async #refresh(): Promise<void> {
    const id = this.#choice.value;
    if (id === '') return;
    try {
      const { network, capacity, used, leases, subnetLength } = await ask<Leases>(`/api/v1/${id}/leases`);
      const share = capacity > 0 ? used / capacity : 1;
      const warning = share >= 1 ? ': it is full' : share >= NEARLY_FULL ? ': it is nearly full' : '';
      const percent = `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
      setText(
        this.#sentence,
        `${used} of ${capacity} subnets /${subnetLength} of ${network} are given out, ${percent}${warning}.`,
      );
      this.#bar.style.width = `${Math.min(100, 100 * share)}%`;
      this.#gauge.dataset.full = share >= NEARLY_FULL ? 'yes' : 'no';
      const rows = leases.filter((lease) => whyOf(lease) !== '');
      this.#table.show(rows, rows.length === 0 ? 'none' : `${rows.length} of ${leases.length} leases`);
    } catch (error) {
      setText(this.#sentence, `The leases could not be read: ${wordsOf(error)}`);
    }
  }
}

function whyOf({ quarantined, expiry, remainingSeconds: left }: LeaseView): string {
  if (quarantined !== undefined) return `not used: ${quarantined}`;
  return expiry === 'expires' && left !== undefined && left < SOON
    ? `expires in ${Math.round(left / 60)} min`
    : '';
}
