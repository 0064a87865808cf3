import { announce } from '#src/ui/model/announce.ts';
import type { Turn } from '#src/ui/model/live-state.ts';
import { clockTime, setAttribute, setText } from '#src/ui/page/dom.ts';
import { HistoryView } from '#src/ui/page/history-view.ts';
import { HostView } from '#src/ui/page/host-view.ts';
import { Live } from '#src/ui/page/live.ts';
import { MapView } from '#src/ui/page/map-view.ts';
import { UseView } from '#src/ui/page/use-view.ts';
import type { View } from '#src/ui/page/view.ts';
import { WayView } from '#src/ui/page/way-view.ts';

/** A screen reader that is spoken to all the time is switched off. */
const ANNOUNCE_MS = 2_000;

/** Puts the views on the page, one at a time, by the address after `#/`, and feeds the one that is open. */
function run(): void {
  const views: Readonly<Record<string, View>> = {
    map: new MapView(),
    host: new HostView(),
    way: new WayView(),
    use: new UseView(),
    history: new HistoryView(),
  };
  const main = byId('main');
  let open: View | undefined;
  let openName = '';
  let silent: string | undefined = '';

  const showFreshness = (): void => {
    const freshness = byId('freshness');
    const { sources } = live.state;
    const stale = [...sources.values()].filter(({ answers }) => !answers);
    const first = stale[0];
    const more = stale.length > 1 ? ` and ${stale.length - 1} more` : '';
    const text =
      silent !== undefined
        ? silent === ''
          ? 'connecting'
          : `stale since ${silent}: the page's server does not answer`
        : first !== undefined
          ? `${first.host}${more} stale since ${clockTime(first.since)}: ${first.why}`
          : sources.size === 0
            ? 'live; no flanneld runs here yet'
            : 'live';
    setText(freshness, text);
    setAttribute(freshness, 'data-fresh', silent === undefined && first === undefined ? 'yes' : 'no');
  };

  const live = new Live({
    changed(turns) {
      setText(byId('place'), live.state.title);
      showFreshness();
      open?.update(live.state);
      say(turns);
    },
    freshness(since) {
      silent = since?.toLocaleTimeString('en-GB');
      showFreshness();
    },
  });

  let waiting: Turn[] = [];
  const say = (turns: readonly Turn[]): void => {
    if (turns.length > 0 && waiting.length === 0) setTimeout(speak, ANNOUNCE_MS);
    waiting.push(...turns);
  };
  const speak = (): void => {
    const names = [...live.state.sources.values()].map(
      ({ own, host, id }) => [own?.lease ?? id, host] as const,
    );
    byId('changes').textContent = announce(waiting, new Map(names));
    waiting = [];
  };

  const navigate = (): void => {
    const [, name = 'map', ...rest] = location.hash.split('/').map(decodeURIComponent);
    const key = Object.hasOwn(views, name) ? name : 'map';
    const view = views[key];
    if (view === undefined) return;
    open?.close();
    const isOther = openName !== '' && openName !== key;
    if (openName !== key) main.replaceChildren(view.element);
    open = view;
    openName = key;
    document.title = `${view.title} - weft`;
    for (const link of document.querySelectorAll('nav a')) {
      setAttribute(link, 'aria-current', link.getAttribute('href') === `#/${key}` ? 'page' : undefined);
    }
    view.update(live.state);
    view.open(rest);
    // The next Tab goes into the view, and a screen reader begins there.
    if (isOther) main.focus({ preventScroll: true });
  };

  document.querySelector('.skip')?.addEventListener('click', (event) => {
    event.preventDefault();
    main.focus();
  });
  addEventListener('hashchange', navigate);
  navigate();
  live.start();
}

function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found;
}

run();
