import { type Panel, ROWS } from './dashboard-rows.ts';

/** Columns of Grafana's grid. */
const WIDTH = 24;
const HEIGHT = { stat: 4, timeseries: 8 } as const;
const MOST_IN_LINE = 5;
const SOURCE = { type: 'prometheus', uid: '$datasource' };

/** Every query with its panel, for the test that parses them. */
export const DASHBOARD_QUERIES: readonly string[] = ROWS.flatMap(({ panels }) =>
  panels.flatMap(({ queries }) => queries.map(([query]) => query)),
);

/** packaging/grafana/weft-dashboard.json: made from the table above by `script/generate-docs`. */
export function dashboard(): string {
  const panels: object[] = [];
  let y = 0;
  for (const { title, panels: inRow } of ROWS) {
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title,
      collapsed: false,
      gridPos: { x: 0, y, w: WIDTH, h: 1 },
    });
    y++;
    const perLine = Math.min(inRow.length, MOST_IN_LINE);
    const w = Math.floor(WIDTH / perLine);
    const h = Math.max(...inRow.map(({ type = 'timeseries' }) => HEIGHT[type]));
    for (const [n, panel] of inRow.entries()) {
      const place = { x: (n % perLine) * w, y: y + Math.floor(n / perLine) * h, w, h };
      panels.push({ id: panels.length + 1, ...panelOf(panel), gridPos: place });
    }
    y += Math.ceil(inRow.length / perLine) * h;
  }
  const board = {
    uid: 'weft',
    title: 'weft',
    tags: ['weft', 'network'],
    schemaVersion: 39,
    editable: true,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
        variable('job', 'Job', 'label_values(weft_build_info, job)'),
        variable('instance', 'Host', 'label_values(weft_build_info{job=~"$job"}, instance)'),
        // A daemon with one network has no such label, and `.*` matches that as well.
        variable('network', 'Network', 'label_values(weft_ready{job=~"$job"}, network)'),
      ],
    },
    panels,
  };
  return `${JSON.stringify(board, undefined, 2)}\n`;
}

function panelOf({ title, about, queries, unit, type = 'timeseries', red, isLowBad }: Panel): object {
  const steps =
    red === undefined
      ? [{ color: 'green', value: null }]
      : isLowBad
        ? [
            { color: 'red', value: null },
            { color: 'green', value: red },
          ]
        : [
            { color: 'green', value: null },
            { color: 'red', value: red },
          ];
  return {
    type,
    title,
    description: about,
    datasource: SOURCE,
    fieldConfig: { defaults: { unit, thresholds: { mode: 'absolute', steps } }, overrides: [] },
    targets: queries.map(([expr, legendFormat], n) => ({
      refId: String.fromCharCode('A'.charCodeAt(0) + n),
      datasource: SOURCE,
      expr,
      legendFormat,
    })),
  };
}

const variable = (name: string, label: string, query: string): object => ({
  name,
  label,
  type: 'query',
  datasource: SOURCE,
  query: { query, refId: name },
  refresh: 2,
  multi: true,
  includeAll: true,
  allValue: '.*',
  current: { selected: true, text: 'All', value: '$__all' },
});
