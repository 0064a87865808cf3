import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ALL_METRICS } from '#src/observe/metrics.ts';
import { DASHBOARD_QUERIES, dashboard } from '../../script/dashboard.ts';
import { inRepository } from '../support/flanneld.ts';
import { promtool } from '../support/promtool.ts';
import { scratchFolder } from '../support/scratch-folder.ts';

/*
 * The alert rules and the dashboard in packaging/: promtool reads every query, and every metric in them is one of ours.
 */
const { skip, run } = promtool();
const ALERTS = inRepository('packaging/prometheus/weft-alerts.yaml');
const TESTS = inRepository('packaging/prometheus/weft-alerts.test.yaml');
const DASHBOARD = inRepository('packaging/grafana/weft-dashboard.json');

/** Each alert's part of the file. */
const alerts = readFileSync(ALERTS, 'utf8')
  .split('- alert: ')
  .slice(1)
  .map((text) => ({ name: text.slice(0, text.indexOf('\n')), text }));

/** Prometheus' own metric of a target. */
const OTHERS = ['up'];

/** The metrics that a query asks for; those of a histogram have rows with a suffix. */
function metricsIn(query: string): string[] {
  const words =
    query.replace(/\{[^}]*\}|\bby \([^)]*\)|\bignoring ?\([^)]*\)/g, '').match(/[a-z_]+(?![\w(])/g) ?? [];
  return words
    .filter((word) => /^(?:weft|process)_/.test(word))
    .map((word) => {
      const histogram = word.replace(/_(?:bucket|sum|count)$/, '');
      return ALL_METRICS.some(({ name, type }) => name === histogram && type === 'histogram')
        ? histogram
        : word;
    });
}

const unknownIn = (queries: readonly string[]): string[] =>
  queries
    .flatMap(metricsIn)
    .filter((metric) => !OTHERS.includes(metric) && !ALL_METRICS.some(({ name }) => name === metric));

test('promtool takes the alert rules, and their tests pass', { skip }, () => {
  for (const words of [
    ['check', 'rules', ALERTS],
    ['test', 'rules', TESTS],
  ]) {
    const { code, text } = run(words);
    assert.equal(code, 0, text);
  }
});

test('each alert is tested, and fires in its test', () => {
  const tests = readFileSync(TESTS, 'utf8');
  for (const { name } of alerts) {
    assert.match(tests, new RegExp(`alertname: ${name}\\n *eval_time: \\w+\\n *exp_alerts: \\[\\]`), name);
    assert.match(
      tests,
      new RegExp(`alertname: ${name}\\n *eval_time: \\w+\\n *exp_alerts:\\n *- exp_labels`),
      name,
    );
  }
  assert.ok(alerts.length >= 10);
});

test('each alert says what to run, and leads to a section of the guide', () => {
  for (const { name, text } of alerts) {
    assert.match(text, /\n *summary: /, name);
    assert.match(text, /\n *description: >-\n[\s\S]*?Run "[a-z]/, name);
    const [, page = '', anchor] = /\n *runbook_url: (\S+)#(\S+)\n/.exec(text) ?? [];
    assert.ok(existsSync(inRepository(page)), `${name}: ${page}`);
    const headings = readFileSync(inRepository(page), 'utf8').match(/^#+ .*$/gm) ?? [];
    const anchors = headings.map((heading) => heading.replace(/^#+ /, '').toLowerCase().replaceAll(' ', '-'));
    assert.ok(anchor !== undefined && anchors.includes(anchor), `${name}: no section ${anchor} in ${page}`);
  }
});

test('alerts and dashboard ask for metrics that there are', () => {
  const queries = alerts.map(({ text }) => /\n *expr: (.*)\n/.exec(text)?.[1] ?? '');
  assert.ok(queries.every((query) => query !== ''));
  assert.deepEqual(unknownIn([...queries, ...DASHBOARD_QUERIES]), []);
  assert.deepEqual(unknownIn(['rate(weft_made_up_total[5m])']), ['weft_made_up_total']);
});

test('promtool can parse every query of the dashboard', { skip }, (t) => {
  const file = join(scratchFolder(t), 'rules.yaml');
  const check = (queries: readonly string[]) => {
    const rules = queries.map((expr, n) => ({ record: `dashboard:query:${n}`, expr }));
    // JSON is YAML.
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
    return run(['check', 'rules', file]);
  };
  const { code, text } = check(DASHBOARD_QUERIES);
  assert.equal(code, 0, text);
  assert.notEqual(check(['sum by (']).code, 0);
});

test('the dashboard is what the table says, and no panel covers another', () => {
  assert.equal(readFileSync(DASHBOARD, 'utf8'), dashboard(), 'run script/generate-docs');
  const { panels } = JSON.parse(dashboard()) as {
    panels: { id: number; gridPos: { x: number; y: number; w: number; h: number } }[];
  };
  const taken = new Set<string>();
  for (const { id, gridPos } of panels) {
    assert.ok(gridPos.x + gridPos.w <= 24, `panel ${id}`);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(!taken.has(`${x} ${y}`), `panel ${id}`);
        taken.add(`${x} ${y}`);
      }
    }
  }
});
