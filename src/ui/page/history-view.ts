import uPlot from 'uplot';
import type { LiveState } from '#src/ui/model/live-state.ts';
import { joinSeries, SERIES, SERIES_NAMES, type Series, type SeriesName } from '#src/ui/model/series.ts';
import { html, labelled, setOptions, setText } from '#src/ui/page/dom.ts';
import { KeyedTable } from '#src/ui/page/keyed-table.ts';
import { ask, type View, wordsOf } from '#src/ui/page/view.ts';

const HEIGHT = 150;

interface Summary {
  readonly name: SeriesName;
  readonly values: readonly number[];
}

/** The last hour of one host, a chart for each figure, with one cursor for all of them. */
export class HistoryView implements View {
  readonly title = 'Last hour';
  readonly element: HTMLElement;
  readonly #choice = html('select');
  readonly #note = html('p', { class: 'under', role: 'status' });
  readonly #charts = html('div', { class: 'charts' });
  readonly #summary: KeyedTable<Summary>;
  readonly #dark = matchMedia('(prefers-color-scheme: dark)');
  readonly #plots = new Map<SeriesName, uPlot>();
  #series: Series | undefined;
  #timer: number | undefined;
  #shown = '';

  constructor() {
    const figure = (pick: (values: readonly number[]) => number | undefined) => (row: Summary) => {
      const value = pick(row.values);
      return value === undefined ? '' : String(Number(value.toPrecision(3)));
    };
    this.#summary = new KeyedTable(
      ({ name }) => name,
      [
        { title: 'Figure', text: ({ name }) => SERIES[name] },
        { title: 'Last', className: 'number', text: figure((values) => values.at(-1)) },
        {
          title: 'Least',
          className: 'number',
          text: figure((values) => (values.length === 0 ? undefined : Math.min(...values))),
        },
        {
          title: 'Most',
          className: 'number',
          text: figure((values) => (values.length === 0 ? undefined : Math.max(...values))),
        },
      ],
    );
    this.#choice.addEventListener('change', () => void this.#refresh());
    this.#dark.addEventListener('change', () => this.#redraw());
    new ResizeObserver(() => this.#resize()).observe(this.#charts);
    this.element = html(
      'section',
      { 'aria-label': 'Last hour' },
      html('div', { class: 'bar' }, labelled('Host', this.#choice)),
      this.#note,
      this.#charts,
      html('h2', {}, 'The same in figures'),
      this.#summary.element,
    );
  }

  open(): void {
    this.#timer = setInterval(() => void this.#refresh(), 2_500);
    void this.#refresh();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  update(state: LiveState): void {
    const before = this.#choice.value;
    setOptions(
      this.#choice,
      [...state.sources.values()].map(({ id, host, network }) => [
        id,
        network === undefined ? host : `${host}, ${network}`,
      ]),
    );
    if (this.#choice.value !== before) void this.#refresh();
  }

  async #refresh(): Promise<void> {
    const id = this.#choice.value;
    if (id === '') return;
    if (id !== this.#shown) this.#series = undefined;
    this.#shown = id;
    const after = (this.#series?.time.at(-1) ?? 0) * 1000;
    try {
      const fresh = await ask<Series>(`/api/series?source=${id}&after=${after}`);
      if (id !== this.#shown) return;
      const before = this.#series;
      // Another call has brought them meanwhile.
      if ((before?.time.at(-1) ?? 0) * 1000 !== after) return;
      const unchanged = before !== undefined && fresh.time.length === 0;
      setText(
        this.#note,
        `A point every ${fresh.everySeconds} s, kept since this page's server runs, at most an hour.`,
      );
      if (unchanged) return;
      this.#series = before === undefined ? fresh : joinSeries(before, fresh);
      this.#draw(this.#series);
    } catch (error) {
      setText(this.#note, wordsOf(error));
    }
  }

  #draw(series: Series): void {
    for (const name of SERIES_NAMES) {
      const data: uPlot.AlignedData = [[...series.time], [...series.columns[name]]];
      const plot = this.#plots.get(name);
      if (plot === undefined) this.#plots.set(name, this.#plot(name, data));
      else plot.setData(data);
    }
    const rows = SERIES_NAMES.map((name) => ({
      name,
      values: series.columns[name].filter((value) => value !== null),
    }));
    this.#summary.show(rows, 'Of the points that there are');
  }

  #plot(name: SeriesName, data: uPlot.AlignedData): uPlot {
    const style = getComputedStyle(document.documentElement);
    const colour = (variable: string): string => style.getPropertyValue(variable).trim();
    const axis = {
      stroke: colour('--faint'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { stroke: colour('--line') },
    };
    const place = html('div', {
      role: 'img',
      'aria-label': `${SERIES[name]}, as a line; the table below has figures`,
    });
    this.#charts.append(place);
    const options: uPlot.Options = {
      title: SERIES[name],
      width: this.#width(),
      height: HEIGHT,
      cursor: { sync: { key: 'hour' } },
      scales: { y: { range: (_, least, most) => [Math.min(0, least ?? 0), Math.max(1, (most ?? 1) * 1.1)] } },
      series: [
        { label: 'Time', value: (_, at) => (at == null ? '' : shortTime(at)) },
        { label: SERIES[name], stroke: colour('--series'), width: 2, points: { show: data[0].length < 30 } },
      ],
      axes: [
        { ...axis, values: (_, times) => times.map(shortTime) },
        { ...axis, size: 56 },
      ],
    };
    const plot = new uPlot(options, data, place);
    // The name of the place is all that a screen reader gets of it; the table has the figures.
    plot.root.setAttribute('aria-hidden', 'true');
    return plot;
  }

  /** The colours are in the charts. */
  #redraw(): void {
    for (const plot of this.#plots.values()) plot.destroy();
    this.#plots.clear();
    this.#charts.replaceChildren();
    if (this.#series !== undefined) this.#draw(this.#series);
  }

  #resize(): void {
    for (const plot of this.#plots.values()) plot.setSize({ width: this.#width(), height: HEIGHT });
  }

  #width(): number {
    return Math.max(200, this.#charts.clientWidth - 4);
  }
}

const shortTime = (seconds: number): string => new Date(seconds * 1000).toLocaleTimeString('en-GB');
