import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Random } from './random.ts';
import type { Target } from './target.ts';

export interface PlayOptions {
  /** Rounds begin until so much time is over, milliseconds. The seeds that were kept are played in any case. */
  readonly forMs: number;
  /** The seed of the first round; each round's is one more than the last's. */
  readonly seed: number;
}

export interface Finding {
  readonly seed: number;
  readonly error: unknown;
}

/** Plays rounds until one does harm. */
export async function play(
  target: Target,
  { forMs, seed }: PlayOptions,
): Promise<{ readonly rounds: number; readonly finding: Finding | undefined }> {
  const kept = await keptSeeds(target.name);
  const rounds = await target.start();
  const end = performance.now() + forMs;
  let played = 0;
  try {
    for (let next = seed; played < kept.length || performance.now() < end; played++) {
      const current = kept[played] ?? next++;
      try {
        await rounds.play(new Random(current));
      } catch (error) {
        return { rounds: played + 1, finding: { seed: current, error } };
      }
    }
    return { rounds: played, finding: undefined };
  } finally {
    await rounds.stop();
  }
}

/** The file with the seeds of what was found once, a line each. */
export function seedFile(name: string): string {
  return fileURLToPath(new URL(`seeds/${name}`, import.meta.url));
}

async function keptSeeds(name: string): Promise<number[]> {
  const text = await readFile(seedFile(name), 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}
