import type { LiveState } from '#src/ui/model/live-state.ts';

/** One of the page's views. */
export interface View {
  readonly element: HTMLElement;
  readonly title: string;
  /** It is on the page now. `rest`: the words of the address after the view's name. */
  open(rest: readonly string[]): void;
  /** The hosts have something new to show. Called while it is open. */
  update(state: LiveState): void;
  /** It has left the page: nothing of it runs. */
  close(): void;
}

/** Reads JSON from the page's server; throws an Error whose message is for the reader. */
export async function ask<Answer>(path: string, signal?: AbortSignal): Promise<Answer> {
  const response = await fetch(path, signal === undefined ? {} : { signal });
  const text = await response.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Error(text.trim().slice(0, 200) || `no answer (${response.status})`);
  }
  if (response.ok) return body as Answer;
  const { error } = body as { error?: unknown };
  throw new Error(typeof error === 'string' ? error : `no answer (${response.status})`);
}

/** What went wrong, in words. */
export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
