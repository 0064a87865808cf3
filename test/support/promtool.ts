import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { inRepository } from './flanneld.ts';

/** Prometheus' own checker, which script/promtool fetches. */
export interface Promtool {
  /** Why it can't run here; `false` when it can. */
  readonly skip: string | false;
  /** Runs it; what it printed, both streams together. */
  run(words: readonly string[], input?: string): { readonly code: number | null; readonly text: string };
}

export function promtool(): Promtool {
  const path = spawnSync(inRepository('script/promtool'), ['--path'], { encoding: 'utf8' }).stdout.trim();
  return {
    skip: whyMissing(path),
    run(words, input = '') {
      const { status, stdout, stderr } = spawnSync(path, words, { encoding: 'utf8', input });
      return { code: status, text: `${stdout}${stderr}` };
    },
  };
}

function whyMissing(path: string): string | false {
  if (existsSync(path)) return false;
  const reason = existsSync(`${path}.reason`)
    ? readFileSync(`${path}.reason`, 'utf8').trim()
    : 'script/promtool fetches it';
  return `needs promtool: ${reason}`;
}
